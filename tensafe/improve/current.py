"""The version that is improved: its adapter, its package, and the data that it came from.

It has to be packaged: a package is a release, so what its records have spent stands in the privacy
register. `improve/earlier` in its run folder holds what all versions before it learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensafe.curate.dataset_files import read_dataset, write_dataset
from tensafe.data.records import CurationReport, Dataset, Example
from tensafe.errors import DataError
from tensafe.pipeline.lineage import Parent
from tensafe.pipeline.run_folder import FinishedRun, read_run
from tensafe.screen.subject import is_run
from tensafe.tgsp import package_digest

IMPROVE = "improve"
EARLIER = "earlier"


@dataclass(frozen=True)
class Current:
    """The current version, with every record that was ever trained on and its held-out set."""

    run: FinishedRun
    package: Path
    parent: Parent
    earlier: tuple[Example, ...]

    @property
    def adapter(self) -> Path:
        """Its PEFT folder."""
        return self.run.folder / "adapter"

    @property
    def old_test(self) -> tuple[Example, ...]:
        """What it was tested on, and what the next version may not forget."""
        return tuple(self.run.dataset.test)


def read_current(path: Path) -> Current:
    """The version that a run folder, or the package in it, holds.

    Raises:
        DataError: it is neither, the run is not finished, or it has no package.
        GateRefusedError: a file is not the one that its gate judged.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not is_run(folder):
        raise DataError(
            f"{path}: an adapter is improved from the run that made it, whose data says what must "
            "not be forgotten; give the run folder, or the .tgsp file in it"
        )
    run = read_run(folder)
    packages = [path] if path.is_file() else sorted(folder.glob("*.tgsp"))
    if len(packages) != 1:
        found = "several packages" if packages else "no package"
        raise DataError(
            f"{folder}: {found} in it; only a packaged version is improved, so that what its "
            "records have spent is known: run `tensafe pack`, or name the .tgsp file"
        )
    package = packages[0]
    _require_of_run(package, run)
    parent = Parent(package_digest(package), run.adapter_digest, _version(run))
    return Current(run, package, parent, _earlier(run))


def write_earlier(current: Current, learned: Sequence[Example], folder: Path) -> None:
    """Keep, for the version after the next one, all that was learned from up to the next one."""
    known = {example.digest: example for example in (*current.earlier, *learned)}
    pool = tuple(known[digest] for digest in sorted(known))
    report = CurationReport(files_read=0, bytes_read=0)
    write_dataset(Dataset(pool, (), report), folder / IMPROVE / EARLIER)


def _earlier(run: FinishedRun) -> tuple[Example, ...]:
    folder = run.folder / IMPROVE / EARLIER
    pool = read_dataset(folder).train if folder.is_dir() else run.dataset.train
    return tuple(pool)


def _version(run: FinishedRun) -> int:
    return 1 if run.parent is None else run.parent.version + 1


def _require_of_run(package: Path, run: FinishedRun) -> None:
    from tensafe.tgsp import verify_package
    from tensafe.tgsp.trust import NOBODY

    verified = verify_package(package, NOBODY)
    verified.require(trusted=False)
    if verified.payload_hash != run.adapter_digest:
        raise DataError(f"{package}: holds another adapter than the run in {run.folder}")
