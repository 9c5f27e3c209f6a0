"""The reference population that the weight layers compare an adapter with.

Owns the file `reference/population.json`: who was in the population, its features' mean and
shrunken covariance, the distance threshold and the ranges of module spectra. The file is made by
`python -m tensafe.screen.fit` from adapters that the same script trains; it is never edited.
"""

from __future__ import annotations

import hashlib
import math
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tensafe.errors import ScreeningError

Array = npt.NDArray[np.float64]
_SHIPPED = "reference/population.json"


class Range(BaseModel):
    """An interval that a figure is expected in, ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    high: float


class Member(BaseModel):
    """One adapter of the population: how it was made, its digest and features."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: dict[str, str | int | float]
    adapter_digest: str
    features: tuple[float, ...]
    distance_left_out: float


class Reference(BaseModel):
    """The population and what was fitted on it.

    `covariance` is already shrunken; `threshold` is the smaller of the widened left-out
    quantile and Hotelling's prediction limit, both kept beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = 1
    made_by: str
    base_name: str
    base_digest: str
    feature_names: tuple[str, ...] = Field(min_length=1)
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    shrinkage: float
    threshold: float = Field(gt=0)
    threshold_left_out: float
    threshold_hotelling: float
    max_concentration: float = Field(gt=0)
    ranges: dict[str, Range]
    members: tuple[Member, ...] = Field(min_length=8)

    def distance(self, features: Array) -> float:
        """Mahalanobis distance of a feature vector (shape (F,)) from the population."""
        return mahalanobis(features, np.array(self.mean), np.array(self.covariance))


def load_reference(path: Path | None = None) -> tuple[Reference, str]:
    """The reference and the SHA-256 of its file; without a path the one that is shipped.

    Raises:
        ScreeningError: the file is missing, malformed, or its matrix has no inverse.
    """
    try:
        raw = (
            path.read_bytes()
            if path is not None
            else files("tensafe.screen").joinpath(_SHIPPED).read_bytes()
        )
        reference = Reference.model_validate_json(raw)
    except OSError as error:
        raise ScreeningError(
            f"no reference population ({error}): make one with "
            "python -m tensafe.screen.fit --out tensafe/screen/reference/population.json"
        ) from error
    except ValidationError as error:
        raise ScreeningError(f"the reference population is malformed: {error}") from error
    size = len(reference.feature_names)
    shape = (len(reference.mean), *np.shape(reference.covariance))
    if shape != (size, size, size) or not math.isfinite(np.linalg.cond(reference.covariance)):
        raise ScreeningError("the reference population's mean and covariance do not fit together")
    return reference, hashlib.sha256(raw).hexdigest()


def mahalanobis(features: Array, mean: Array, covariance: Array) -> float:
    """sqrt((x - m)^T S^-1 (x - m))."""
    difference = features - mean
    squared = float(difference @ np.linalg.solve(covariance, difference))
    return math.sqrt(max(0.0, squared))
