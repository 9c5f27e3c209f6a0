"""Fitting the reference population: `python -m tensafe.screen.fit --out FILE`.

Trains the population through the engine, measures every member's features and spectra, and
writes the reference file. Nothing is hand-set in that file but what the constants below say.

- Covariance: the sample's correlation matrix is shrunk towards the identity with the intensity
  of Ledoit and Wolf ("A well-conditioned estimator for large-dimensional covariance matrices",
  J. Multivariate Analysis 2004), and standard deviations are floored (`FLOORS`).
- Threshold: the smaller of (a) twice the 0.95 quantile of the members' own distances when each is
  left out of the fit (twice, because the members share one base and one script; three published
  adapters on other bases lay at up to 1.4 times that quantile), and (b) Hotelling's limit for one
  new observation, sqrt(p (n^2 - 1) / (n (n - p)) F(0.99; p, n - p)).
- Spectral ranges: the members' 0.5 and 99.5 percent quantiles, widened on each side by half
  their width.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from tensafe.files import write_text
from tensafe.screen.adapter_weights import AdapterWeights, read_weights
from tensafe.screen.features import FEATURES, FLOORS, features
from tensafe.screen.population import Recipe, recipes, train_population
from tensafe.screen.reference import Array, Member, Range, Reference, mahalanobis
from tensafe.screen.spectrum import module_spectrum, spectrum_figures

LEFT_OUT_QUANTILE = 0.95
LEFT_OUT_MARGIN = 2.0
HOTELLING_LEVEL = 0.99
RANGE_QUANTILE = 0.005
RANGE_MARGIN = 0.5
CONCENTRATION_MARGIN = 2.0
_SHARES = ("effective_rank_share", "top_share")


def shrunken_covariance(sample: Array) -> tuple[Array, float]:
    """Covariance of an (n, p) sample after shrinkage and floors, and the shrinkage intensity.

    Ledoit-Wolf on the standardised sample Z: with S = Z^T Z / n and target mu I (mu = tr S / p),
    intensity = min(b^2, d^2) / d^2, d^2 = ||S - mu I||^2 / p,
    b^2 = sum_k ||z_k z_k^T - S||^2 / (n^2 p).
    """
    count, size = sample.shape
    floor = np.array([FLOORS[name] for name in FEATURES]) if size == len(FEATURES) else 0.0
    deviation = np.maximum(sample.std(axis=0, ddof=1), floor)
    scaled = (sample - sample.mean(axis=0)) / deviation  # (n, p)
    second = scaled.T @ scaled / count
    mu = float(np.trace(second)) / size
    distance = float(((second - mu * np.eye(size)) ** 2).sum()) / size
    noise = float(((scaled**2).sum(axis=1) ** 2).sum() - count * (second**2).sum())
    noise = min(noise / (count**2 * size), distance)
    intensity = noise / distance if distance > 0 else 1.0
    shrunk = (1.0 - intensity) * second + intensity * mu * np.eye(size)
    # A floored deviation stands for a spread that the sample did not show: its variance is 1.
    np.fill_diagonal(shrunk, np.maximum(np.diag(shrunk), 1.0))
    return shrunk * np.outer(deviation, deviation), intensity


def left_out_distances(sample: Array) -> Array:
    """Each member's distance from a fit on all the others, shape (n,)."""
    distances: list[float] = []
    for place in range(len(sample)):
        rest = np.delete(sample, place, axis=0)
        covariance, _ = shrunken_covariance(rest)
        distances.append(mahalanobis(sample[place], rest.mean(axis=0), covariance))
    return np.array(distances)


def hotelling_limit(count: int, size: int, level: float = HOTELLING_LEVEL) -> float:
    """Distance that one new normal observation stays under with probability `level`.

    Raises:
        ValueError: as many features as members, or more.
    """
    if count <= size:
        raise ValueError(f"{count} members are too few for {size} features")
    factor = size * (count**2 - 1) / (count * (count - size))
    return math.sqrt(factor * float(stats.f.ppf(level, size, count - size)))


def fit_reference(
    members: Sequence[tuple[Recipe, AdapterWeights]], *, base_name: str, base_digest: str
) -> Reference:
    """The reference of a trained population.

    Raises:
        ValueError: a member changes nothing, or there are too few members.
    """
    sample = np.array([features(weights) for _, weights in members])  # (n, p)
    covariance, intensity = shrunken_covariance(sample)
    left_out = left_out_distances(sample)
    quantile = LEFT_OUT_MARGIN * float(np.quantile(left_out, LEFT_OUT_QUANTILE))
    hotelling = hotelling_limit(*sample.shape)
    concentration = float(10 ** sample[:, FEATURES.index("energy_concentration")].max())
    return Reference(
        made_by="python -m tensafe.screen.fit",
        base_name=base_name,
        base_digest=base_digest,
        feature_names=FEATURES,
        mean=tuple(sample.mean(axis=0).tolist()),
        covariance=tuple(tuple(row) for row in covariance.tolist()),
        shrinkage=intensity,
        threshold=min(quantile, hotelling),
        threshold_left_out=quantile,
        threshold_hotelling=hotelling,
        max_concentration=CONCENTRATION_MARGIN * concentration,
        ranges=spectral_ranges([weights for _, weights in members]),
        members=tuple(
            Member(
                recipe=recipe.facts(),
                adapter_digest=weights.digest,
                features=tuple(row.tolist()),
                distance_left_out=float(distance),
            )
            for (recipe, weights), row, distance in zip(members, sample, left_out, strict=True)
        ),
    )


def spectral_ranges(population: Sequence[AdapterWeights]) -> dict[str, Range]:
    """Widened quantile ranges of every module's spectral figures over the whole population."""
    figures: dict[str, list[float]] = {}
    for weights in population:
        for pair in weights.pairs:
            spectrum = module_spectrum(pair, weights.scale)
            if spectrum.energy > 0:
                for name, value in spectrum_figures(spectrum, weights.rank).items():
                    figures.setdefault(name, []).append(value)
    ranges: dict[str, Range] = {}
    for name, values in figures.items():
        low, high = (float(v) for v in np.quantile(values, [RANGE_QUANTILE, 1 - RANGE_QUANTILE]))
        margin = RANGE_MARGIN * (high - low)
        ranges[name] = Range(low=low - margin, high=high + margin)
        if name in _SHARES:
            ranges[name] = Range(low=max(0.0, low - margin), high=min(1.0, high + margin))
    return ranges


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, fit, write; progress on stderr."""
    from tinker_engine.connect import base_info, open_engine

    parser = argparse.ArgumentParser(prog="python -m tensafe.screen.fit", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="reference file to write")
    parser.add_argument("--base-model", default="nano", help="base that the members are trained on")
    parser.add_argument("--folder", type=Path, help="keep the adapters here (resumable)")
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_engine("embedded", base_model=given.base_model) as engine,
    ):
        base = base_info(engine)
        folder: Path = given.folder or Path(scratch)
        members = [
            (recipe, read_weights(adapter))
            for recipe, adapter in train_population(
                engine, folder, recipes(), lambda line: print(line, file=sys.stderr, flush=True)
            )
        ]
    reference = fit_reference(members, base_name=base.name, base_digest=base.digest)
    write_text(given.out, reference.model_dump_json(indent=1) + "\n")
    print(
        f"{given.out}: {len(members)} adapters, threshold {reference.threshold:.2f} (left out "
        f"{reference.threshold_left_out:.2f}, Hotelling {reference.threshold_hotelling:.2f}), "
        f"shrinkage {reference.shrinkage:.2f}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
