"""Reading an adapter's two files for the weight layers, without torch.

Owns the mapping from PEFT's tensor names to (A, B) pairs. Structure is checked by the package
room's safetensors reader first; values are read with numpy, bfloat16 included.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tensafe.errors import ScreeningError, VerificationError
from tensafe.tgsp.safetensors_header import TensorEntry, read_header

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_MAX_CONFIG_BYTES = 1 << 20
_NAME = re.compile(r"^base_model\.model\.(?P<module>[\w.-]+)\.lora_(?P<side>[AB])\.weight$")
_FLOATS: dict[str, str] = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
DTYPES = (*_FLOATS, "BF16")

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LoraPair:
    """One module's factors: `a` of shape (rank, in), `b` of shape (out, rank), in float64."""

    module: str
    a: Matrix
    b: Matrix


@dataclass(frozen=True)
class AdapterWeights:
    """The declared configuration, every tensor's name, shape and dtype, and the complete pairs.

    `unpaired` names tensors that are no half of a LoRA pair of matching shapes; `not_finite`
    those that hold NaN or infinity (left out of `pairs`).
    """

    config: dict[str, Any]
    digest: str
    entries: tuple[TensorEntry, ...]
    pairs: tuple[LoraPair, ...]
    unpaired: tuple[str, ...]
    not_finite: tuple[str, ...]
    other_files: tuple[str, ...]

    @property
    def rank(self) -> int:
        """The declared rank; 0 when it isn't a whole number."""
        rank = self.config.get("r")
        return rank if isinstance(rank, int) and not isinstance(rank, bool) else 0

    @property
    def alpha(self) -> float:
        """The declared alpha; 0.0 when it isn't a number."""
        alpha = self.config.get("lora_alpha")
        return (
            float(alpha) if isinstance(alpha, int | float) and not isinstance(alpha, bool) else 0.0
        )

    @property
    def scale(self) -> float:
        """What BA is multiplied by: alpha / rank, or alpha / sqrt(rank) with rsLoRA."""
        if self.rank < 1:
            return 0.0
        return self.alpha / (self.rank**0.5 if self.config.get("use_rslora") else self.rank)


def read_weights(folder: Path) -> AdapterWeights:
    """Read a PEFT folder.

    Raises:
        ScreeningError: a file is missing, malformed, or not safetensors.
    """
    config = _read_config(folder / CONFIG)
    path = folder / WEIGHTS
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise ScreeningError(
            f"{path.name} can't be read ({error}): a PEFT folder with {WEIGHTS} is expected"
        ) from error
    try:
        entries = read_header(payload).tensors
    except VerificationError as error:
        raise ScreeningError(f"{WEIGHTS}: {error}") from error
    known = {CONFIG, WEIGHTS}
    others = tuple(sorted(p.name for p in folder.iterdir() if p.name not in known))
    pairs, unpaired, not_finite = _pairs(payload, entries)
    return AdapterWeights(
        config,
        hashlib.sha256(payload).hexdigest(),
        entries,
        pairs,
        unpaired,
        not_finite,
        others,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as handle:
            raw = handle.read(_MAX_CONFIG_BYTES + 1)
        if len(raw) > _MAX_CONFIG_BYTES:
            raise ScreeningError(f"{path.name} is larger than {_MAX_CONFIG_BYTES} bytes")
        value: object = json.loads(raw)
    except (OSError, ValueError, RecursionError) as error:
        raise ScreeningError(f"{path.name} can't be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ScreeningError(f"{path.name}: expected a JSON object")
    return cast("dict[str, Any]", value)


def _pairs(
    payload: bytes, entries: tuple[TensorEntry, ...]
) -> tuple[tuple[LoraPair, ...], tuple[str, ...], tuple[str, ...]]:
    halves: dict[str, dict[str, TensorEntry]] = {}
    unpaired: list[str] = []
    for entry in entries:
        match = _NAME.match(entry.name)
        if match is None or len(entry.shape) != 2 or entry.dtype not in DTYPES:
            unpaired.append(entry.name)
        else:
            halves.setdefault(match["module"], {})[match["side"]] = entry
    pairs: list[LoraPair] = []
    not_finite: list[str] = []
    for module, sides in sorted(halves.items()):
        a, b = sides.get("A"), sides.get("B")
        if a is None or b is None or a.shape[0] != b.shape[1] or 0 in (*a.shape, *b.shape):
            unpaired.extend(entry.name for entry in sides.values())
            continue
        values = {entry.name: _values(payload, entry) for entry in (a, b)}
        bad = [name for name, matrix in values.items() if not bool(np.isfinite(matrix).all())]
        not_finite.extend(bad)
        if not bad:
            pairs.append(LoraPair(module, values[a.name], values[b.name]))
    return tuple(pairs), tuple(sorted(unpaired)), tuple(not_finite)


def _values(payload: bytes, entry: TensorEntry) -> Matrix:
    raw = payload[entry.begin : entry.end]
    if entry.dtype == "BF16":
        # bfloat16 is the upper half of a float32.
        wide = np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16
        flat = wide.view(np.float32).astype(np.float64)
    else:
        flat = np.frombuffer(raw, dtype=_FLOATS[entry.dtype]).astype(np.float64)
    return flat.reshape(entry.shape)
