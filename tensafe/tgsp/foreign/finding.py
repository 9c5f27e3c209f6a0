"""Where a foreign adapter's weights and settings lie: a PEFT folder, a single file, a package.

Nothing that a file says is run: pickles are refused unless the user allows them by name, and then
only tensors and plain containers are loaded from them.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tensafe.errors import DataError, UsageError, VerificationError
from tensafe.tgsp.reader import MAGIC, open_package, package_digest
from tensafe.tgsp.safetensors_header import read_header
from tensafe.tgsp.trust import NOBODY
from tensafe.tgsp.verification import VERDICTS, verify

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
MAX_BYTES = 2 << 30
_MAX_CONFIG_BYTES = 1 << 20
# Under these keys trainers wrap a state dict in a dictionary of their own.
_WRAPPERS = ("state_dict", "model_state_dict", "lora_state_dict", "model", "module")


@dataclass(frozen=True)
class FoundAdapter:
    """Weights as bytes of safetensors, and what is said about them.

    `config` is PEFT's adapter_config.json as it stands, {} where there is none. `digest` is the
    hex SHA-256 of the file that held the weights; `parent` that of a package they came in.
    """

    source: Path
    weights: Path
    payload: bytes
    config: dict[str, Any]
    digest: str
    parent: str = ""


def find_adapter(path: Path, *, allow_pickle: bool) -> FoundAdapter:
    """Read what `path` names.

    Raises:
        UsageError: it is a pickle, and `allow_pickle` wasn't given.
        DataError: there is no adapter, or its settings can't be read.
        VerificationError: the weights are malformed, hold more than tensors, or are in a package
            that is not intact.
    """
    if path.is_dir():
        return _folder(path, allow_pickle=allow_pickle)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give a PEFT folder or a weights file")
    if path.suffix.lower() == ".tgsp" or _starts_with(path, MAGIC):
        return _package(path)
    if path.suffix.lower() == ".gguf" or _starts_with(path, b"GGUF"):
        raise DataError(
            f"{path}: GGUF has lost the names and layout that PEFT needs; import the adapter that "
            "it was made from"
        )
    beside = path.with_name(CONFIG_FILE)
    config = _config(beside) if beside.is_file() else {}
    return _file(path, path, config, allow_pickle=allow_pickle)


def _folder(path: Path, *, allow_pickle: bool) -> FoundAdapter:
    config_path = path / CONFIG_FILE
    if not config_path.is_file():
        files = sorted(p.name for p in path.iterdir() if p.suffix == ".safetensors")
        hint = f"; to import {files[0]} alone, give that file" if files else ""
        raise DataError(
            f"{path}: expected a PEFT folder with {CONFIG_FILE} and {WEIGHTS_FILE}; there is no "
            f"{CONFIG_FILE}{hint}"
        )
    config = _config(config_path)
    for name in (WEIGHTS_FILE, PICKLE_FILE):
        if (path / name).is_file():
            return _file(path, path / name, config, allow_pickle=allow_pickle)
    raise DataError(f"{path}: there is neither {WEIGHTS_FILE} nor {PICKLE_FILE} in it")


def _file(
    source: Path, weights: Path, config: dict[str, Any], *, allow_pickle: bool
) -> FoundAdapter:
    if weights.suffix.lower() in PICKLE_SUFFIXES:
        if not allow_pickle:
            raise UsageError(
                f"{weights}: a pickle, which can hold code; if you must, --allow-pickle loads the "
                "tensors in it and nothing else, but ask for safetensors first"
            )
        return _pickle(source, weights, config)
    payload = _bytes(weights)
    try:
        header = read_header(payload)
    except VerificationError as error:
        raise VerificationError(f"{weights}: {error}") from error
    if not config:
        config = _embedded_config(header.metadata)
    return FoundAdapter(source, weights, payload, config, hashlib.sha256(payload).hexdigest())


def _package(path: Path) -> FoundAdapter:
    """The adapter in a package whose hashes and Ed25519 signature hold, whoever signed it."""
    try:
        with open_package(path) as package:
            result = verify(package, NOBODY)
            if result.manifest is None or result.verdict not in ("untrusted", "ed25519_only"):
                raise VerificationError(f"{VERDICTS[result.verdict]}: {result.why}")
            payload, view = bytes(package.payload), result.manifest.view
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from error
    lora = view.lora_config
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": list(lora.target_modules),
        "bias": lora.bias,
        "task_type": lora.task_type,
        "base_model_name_or_path": view.model.base_model,
    }
    digest = package_digest(path)
    return FoundAdapter(path, path, payload, config, digest, parent=digest)


def _pickle(source: Path, path: Path, config: dict[str, Any]) -> FoundAdapter:
    import pickle

    import torch
    from safetensors.torch import save

    data = _bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, TypeError) as error:
        named = re.search(r"GLOBAL (\S+)|WeightsUnpickler error: ([^\n]+)", str(error))
        first = (str(error).strip().splitlines() or [repr(error)])[0]
        reason = next(filter(None, named.groups())) if named else first
        raise VerificationError(
            f"{path}: holds something other than tensors, so it was not loaded ({reason[:200]}); "
            "ask its maker for safetensors"
        ) from error
    state, found = _state_dict(loaded, path)
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    payload = save(tensors, metadata={"format": "pt"})
    return FoundAdapter(source, path, payload, config or found, hashlib.sha256(data).hexdigest())


def _state_dict(loaded: object, path: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The tensors by name, and settings that were saved beside them."""
    import torch

    config: dict[str, Any] = {}
    for _ in range(3):
        if not isinstance(loaded, Mapping):
            break
        content = cast("dict[object, object]", loaded)
        settings = content.get("adapter_config")
        if isinstance(settings, dict):
            config = cast("dict[str, Any]", settings)
        wrapped = next((content[key] for key in _WRAPPERS if key in content), None)
        if wrapped is None:
            break
        loaded = wrapped
    if not isinstance(loaded, Mapping) or not loaded:
        raise VerificationError(f"{path}: expected a state dict, tensors by name")
    state = cast("dict[object, object]", loaded)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise VerificationError(f"{path}: {str(name)[:80]!r} is no tensor; expected those only")
    return cast("dict[str, Tensor]", state), config


def _embedded_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Settings that some trainers leave in a safetensors header, as JSON under one key."""
    for key in ("lora_adapter_metadata", "adapter_config", "lora_config"):
        try:
            value: object = json.loads(metadata.get(key, ""))
        except ValueError:
            continue
        if isinstance(value, dict) and "lora_alpha" in value:
            return cast("dict[str, Any]", value)
    return {}


def _config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as handle:
            raw = handle.read(_MAX_CONFIG_BYTES + 1)
        if len(raw) > _MAX_CONFIG_BYTES:
            raise DataError(f"{path}: larger than {_MAX_CONFIG_BYTES} bytes; no adapter settings")
        value: object = json.loads(raw)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object with PEFT's settings")
    return cast("dict[str, Any]", value)


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise DataError(f"{path}: {size} bytes; expected an adapter of at most {MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _starts_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(len(magic)) == magic
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
