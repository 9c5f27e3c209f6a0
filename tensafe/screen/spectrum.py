"""Spectra of LoRA updates and the `svd_analysis` layer.

The update of a module is W' - W = s B A with B (out, r), A (r, in), s = alpha / r. Its singular
values are those of s R_B R_A^T with B = Q_B R_B and A^T = Q_A R_A (QR factors), an (r, r) matrix:
exact, and small whatever the base's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tensafe.screen.adapter_weights import AdapterWeights, LoraPair, Matrix
from tensafe.screen.config import ScreenConfig
from tensafe.screen.records import Check, Finding, LayerResult, judged
from tensafe.screen.reference import Reference


@dataclass(frozen=True)
class ModuleSpectrum:
    """One module's update.

    `rms` is the root mean square of its entries, `spectral` its largest singular value divided by
    sqrt(max(out, in)) (so that widths compare), `effective_rank` exp(entropy of the squared
    singular values' shares) (Roy and Vetterli 2007), `top_share` the first one's share of energy.
    """

    module: str
    rms: float
    spectral: float
    effective_rank: float
    top_share: float
    energy: float


def module_spectrum(pair: LoraPair, scale: float) -> ModuleSpectrum:
    """The spectrum of one update; all zero when the update is zero."""
    values = singular_values(pair, scale)
    out, width = pair.b.shape[0], pair.a.shape[1]
    energy = float((values**2).sum())
    if energy <= 0.0:
        return ModuleSpectrum(pair.module, 0.0, 0.0, 0.0, 0.0, 0.0)
    shares = values**2 / energy
    positive = shares[shares > 0]
    return ModuleSpectrum(
        module=pair.module,
        rms=float(np.sqrt(energy / (out * width))),
        spectral=float(values[0] / np.sqrt(max(out, width))),
        effective_rank=float(np.exp(-(positive * np.log(positive)).sum())),
        top_share=float(shares[0]),
        energy=energy,
    )


def singular_values(pair: LoraPair, scale: float) -> npt.NDArray[np.float64]:
    """All min(r, out, in) singular values of scale * B A, descending."""
    core = scale * (_triangle(pair.b) @ _triangle(pair.a.T).T)
    return np.asarray(np.linalg.svd(core, compute_uv=False), dtype=np.float64)


def _triangle(matrix: Matrix) -> Matrix:
    """R of the QR factors of an (n, r) matrix: shape (min(n, r), r)."""
    return np.asarray(np.linalg.qr(matrix)[1], dtype=np.float64)


def svd_analysis(
    weights: AdapterWeights, reference: Reference, config: ScreenConfig
) -> LayerResult:
    """Does the adapter change something, and is each module's update like a trained one?

    Figures are held against the ranges of the reference population, widened on each side by the
    range's own width: outside them is a finding, and more than one module in ten fails.
    """
    spectra = [module_spectrum(pair, weights.scale) for pair in weights.pairs]
    total = sum(s.energy for s in spectra)
    largest = max((s.rms for s in spectra), default=0.0)
    outside = _outside(spectra, weights.rank, reference)
    concentration = max((s.energy / total for s in spectra), default=1.0) if total else 1.0
    excess = concentration * len(spectra)
    checks = [
        Check(
            "unchanged", float(largest < config.weights.min_change), 0.0,
            f"the largest RMS change of a module is {largest:.3g}",
        ),
        Check(
            "modules_outside", len({f.output for f in outside}) / max(1, len(spectra)), 0.1,
            f"share of {len(spectra)} modules outside the reference ranges",
        ),
        Check(
            "concentration", excess, reference.max_concentration,
            "one module's energy over the mean module's",
        ),
    ]  # fmt: skip
    evidence: dict[str, object] = {
        "modules": [
            {
                "module": s.module,
                "rms": s.rms,
                "spectral": s.spectral,
                "effective_rank": s.effective_rank,
                "top_share": s.top_share,
            }
            for s in spectra
        ],
        "ranges": {name: [r.low, r.high] for name, r in reference.ranges.items()},
    }
    return judged("svd_analysis", checks, outside, evidence, shown=config.shown_findings)


def spectrum_figures(spectrum: ModuleSpectrum, rank: int) -> dict[str, float]:
    """The figures of one module that are compared with the reference's ranges."""
    return {
        "log10_rms": float(np.log10(max(spectrum.rms, 1e-30))),
        "log10_spectral": float(np.log10(max(spectrum.spectral, 1e-30))),
        "effective_rank_share": spectrum.effective_rank / max(1, rank),
        "top_share": spectrum.top_share,
    }


def _outside(spectra: Sequence[ModuleSpectrum], rank: int, reference: Reference) -> list[Finding]:
    findings: list[Finding] = []
    for spectrum in spectra:
        for name, value in spectrum_figures(spectrum, rank).items():
            allowed = reference.ranges[name]
            if not allowed.low <= value <= allowed.high:
                detail = f"{value:.3g} is outside [{allowed.low:.3g}, {allowed.high:.3g}]"
                findings.append(Finding(name, "", spectrum.module, detail, score=value))
    return findings
