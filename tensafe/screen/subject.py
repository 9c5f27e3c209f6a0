"""What is to be screened: a run folder, a PEFT adapter folder or a package.

Gives each the same form: the adapter's two files, the base it says it was made for, and the data
it was trained on where that is at hand. A package is verified first; its signer need not be
trusted, because screening is how one finds out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from tensafe.curate.dataset_files import read_dataset
from tensafe.data.records import Dataset
from tensafe.errors import DataError
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.reader import Package, open_package
from tensafe.tgsp.trust import NOBODY
from tensafe.tgsp.verification import verify_package

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
RUN_CONFIG = "config.json"
SubjectKind = Literal["run", "adapter", "package"]


@dataclass(frozen=True)
class Subject:
    """One adapter. `base_model` None is the engine's default, `base_digest` "" is unknown."""

    kind: SubjectKind
    name: str
    adapter_dir: Path
    base_model: str | None
    base_digest: str
    dataset: Dataset | None


def is_run(path: Path) -> bool:
    """True for a folder that `tensafe train` made."""
    return (path / RUN_CONFIG).is_file() and (path / "dataset").is_dir()


def open_subject(path: Path, scratch: Path) -> Subject:
    """Find out what `path` is and read it; a package's files are written under `scratch`.

    Raises:
        DataError: it is none of the three, or a run that has no adapter yet.
        VerificationError: a package that is not intact.
    """
    if path.is_file():
        return _package(path, scratch / "adapter")
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder")
    if is_run(path):
        return _run(path)
    if (path / ADAPTER_CONFIG).is_file():
        # The adapter folder of a run is that run: its data is known.
        parent = path.resolve().parent
        if path.name == "adapter" and is_run(parent):
            return _run(parent)
        config = read_object(path / ADAPTER_CONFIG)
        base = config.get("base_model_name_or_path")
        name = path.resolve().name
        return Subject("adapter", name, path, str(base) if base else None, "", None)
    raise DataError(
        f"{path}: expected a run folder ({RUN_CONFIG}, dataset/, adapter/), a PEFT adapter folder "
        f"({ADAPTER_CONFIG}, {ADAPTER_WEIGHTS}) or a .tgsp file"
    )


def _run(folder: Path) -> Subject:
    adapter = folder / "adapter"
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise DataError(f"{folder}: the run has no adapter yet; finish it with `tensafe train`")
    declared = read_object(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    config = read_object(folder / RUN_CONFIG)
    outcome = folder / "outcome.json"
    digest = read_object(outcome).get("base_digest", "") if outcome.is_file() else ""
    # An alias or a folder can be loaded where the name that the engine gave it can't.
    base = config.get("base_model") or declared
    return Subject(
        "run",
        folder.resolve().name,
        adapter,
        str(base) if base else None,
        str(digest),
        read_dataset(folder / "dataset"),
    )


def _package(path: Path, folder: Path) -> Subject:
    manifest = verify_package(path, NOBODY).require(trusted=False)
    view = manifest.view
    with open_package(path) as package:
        write_adapter_files(package, view, folder)
    provenance = cast("dict[str, Any]", manifest.raw.get("provenance") or {})
    dataset = None
    if is_run(path.resolve().parent):
        beside = read_dataset(path.resolve().parent / "dataset")
        dataset = beside if beside.train_digest == provenance.get("train_data") else None
    return Subject(
        "package",
        path.stem,
        folder,
        view.model.base_model,
        str(provenance.get("base_weights") or ""),
        dataset,
    )


def write_adapter_files(package: Package, view: ManifestView, folder: Path) -> None:
    """A package's adapter as a PEFT folder, which must not exist yet."""
    from tinker_engine.models.adapter_files import AdapterConfig

    folder.mkdir(parents=True)
    declared = AdapterConfig(
        base_model=view.model.base_model,
        rank=view.lora_config.rank,
        alpha=view.lora_config.alpha,
        targets=tuple(view.lora_config.target_modules),
        fan_in_fan_out=False,
    )
    (folder / ADAPTER_CONFIG).write_text(declared.to_json(), encoding="utf-8")
    (folder / ADAPTER_WEIGHTS).write_bytes(package.payload)


def read_object(path: Path) -> dict[str, Any]:
    """A small JSON file that holds an object.

    Raises:
        DataError: it can't be read, or is something else.
    """
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object")
    return cast("dict[str, Any]", value)
