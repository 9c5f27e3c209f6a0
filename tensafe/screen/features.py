"""The feature vector that describes an adapter's weights, whatever base it is made for.

Every feature is a ratio, a logarithm or a share, so that width, depth and number of modules do
not enter by themselves.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tensafe.screen.adapter_weights import AdapterWeights
from tensafe.screen.spectrum import ModuleSpectrum, module_spectrum

FEATURES: tuple[str, ...] = (
    "log10_rms_mean",
    "log10_rms_spread",
    "effective_rank_share_mean",
    "effective_rank_share_spread",
    "top_share_mean",
    "energy_concentration",
    "log10_b_over_a",
    "b_log_kurtosis",
    "b_peak",
    "b_row_imbalance",
    "depth_slope",
)

# The smallest spread a feature is taken to have: finer differences are not evidence.
FLOORS: dict[str, float] = {
    "log10_rms_mean": 0.5,
    "log10_rms_spread": 0.1,
    "effective_rank_share_mean": 0.08,
    "effective_rank_share_spread": 0.03,
    "top_share_mean": 0.08,
    "energy_concentration": 0.15,
    "log10_b_over_a": 0.5,
    "b_log_kurtosis": 0.15,
    "b_peak": 0.15,
    "b_row_imbalance": 0.1,
    "depth_slope": 0.3,
}


def features(weights: AdapterWeights) -> npt.NDArray[np.float64]:
    """The features in the order of `FEATURES`, shape (11,).

    Raises:
        ValueError: the adapter has no complete pair, or changes nothing.
    """
    spectra = [module_spectrum(pair, weights.scale) for pair in weights.pairs]
    if not spectra or all(s.energy == 0.0 for s in spectra):
        raise ValueError("an adapter without any weight change has no features")
    rms = np.array([np.log10(max(s.rms, 1e-12)) for s in spectra])  # (M,)
    shares = np.array([s.effective_rank / max(1, weights.rank) for s in spectra])  # (M,)
    energy = np.array([s.energy for s in spectra])  # (M,)
    b_stats = np.array([_b_statistics(pair.b) for pair in weights.pairs])  # (M, 3)
    ratio = [
        np.log10(max(_rms(pair.b), 1e-12) / max(_rms(pair.a), 1e-12)) for pair in weights.pairs
    ]
    return np.array(
        [
            rms.mean(),
            rms.std(),
            shares.mean(),
            shares.std(),
            np.mean([s.top_share for s in spectra]),
            np.log10(energy.max() / energy.mean()),
            np.mean(ratio),
            *b_stats.mean(axis=0),
            _depth_slope(spectra, rms),
        ],
        dtype=np.float64,
    )


def _rms(matrix: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(matrix**2)))


def _b_statistics(b: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """log10 kurtosis of B's entries, log10 of peak over RMS, spread of its rows' log10 norms."""
    size = _rms(b)
    if size == 0.0:
        return 0.0, 0.0, 0.0
    scaled = b / size
    rows = np.linalg.norm(scaled, axis=1)  # (out,)
    alive = rows[rows > 0]
    return (
        float(np.log10(np.mean(scaled**4))),
        float(np.log10(np.abs(scaled).max())),
        float(np.log10(alive).std()),
    )


def _depth_slope(spectra: list[ModuleSpectrum], rms: npt.NDArray[np.float64]) -> float:
    """Correlation of log update size with depth; 0 for a single layer."""
    depth = np.array([_layer_of(s.module) for s in spectra], dtype=np.float64)
    if depth.std() == 0.0 or rms.std() == 0.0:
        return 0.0
    return float(np.corrcoef(depth, rms)[0, 1])


def _layer_of(module: str) -> int:
    return next((int(part) for part in module.split(".") if part.isdigit()), 0)
