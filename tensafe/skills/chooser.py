"""Which package of a folder fits a task, judged by what the packages' skill documents say.

Score of a package: the share of the task's words that its own words cover, each word weighed by
how few of the packages have it (inverse document frequency, Sparck Jones 1972). Only packages whose
hashes and signatures hold take part: a skill document nobody vouches for is not advice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensafe.errors import TensafeError, UsageError
from tensafe.gate.swap_sets import package_stems
from tensafe.screen.refusal import content_stems
from tensafe.tgsp import TrustStore, verify_package
from tensafe.tgsp.manifest import ManifestView

# Below this share of the task's weight a package is named, but not recommended.
FITS = 0.2


@dataclass(frozen=True)
class Candidate:
    """A package that could be read. `score` lies in 0 .. 1; `why`: words that spoke for it."""

    path: Path
    name: str
    description: str
    score: float
    why: tuple[str, ...]
    is_trusted: bool

    @property
    def fits(self) -> bool:
        """Whether it may be recommended."""
        return self.score >= FITS


@dataclass(frozen=True)
class Choice:
    """All readable packages, best first, and the files that were left out with the reason."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[tuple[Path, str], ...]

    @property
    def best(self) -> Candidate | None:
        """The one to load, if any fits."""
        return next((c for c in self.candidates if c.fits), None)

    def to_json(self) -> dict[str, object]:
        """For `--json` and tools."""
        return {
            "best": str(self.best.path) if self.best is not None else None,
            "candidates": [
                {
                    "path": str(c.path),
                    "name": c.name,
                    "description": c.description,
                    "score": round(c.score, 3),
                    "fits": c.fits,
                    "is_trusted": c.is_trusted,
                    "why": list(c.why),
                }
                for c in self.candidates
            ],
            "left_out": [{"path": str(path), "reason": why} for path, why in self.left_out],
        }


def choose_package(task: str, folder: Path, trust: TrustStore) -> Choice:
    """Rank the `.tgsp` files directly in a folder for a task.

    Raises:
        UsageError: the folder isn't one or holds no package, or the task has no word to go by.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; name one that holds .tgsp files")
    files = sorted(folder.glob("*.tgsp"))
    if not files:
        raise UsageError(f"{folder} holds no .tgsp file")
    wanted = content_stems(task)
    if not wanted:
        raise UsageError(f"the task {task!r} has no word to go by; say in a sentence what is asked")
    read: list[tuple[Path, ManifestView, bool]] = []
    left_out: list[tuple[Path, str]] = []
    for path in files:
        try:
            found = verify_package(path, trust)
            manifest = found.require(trusted=False)
        except TensafeError as error:
            left_out.append((path, str(error)))
            continue
        read.append((path, manifest.view, found.is_trusted))
    return Choice(_ranked(read, wanted), tuple(left_out))


def _ranked(
    read: Sequence[tuple[Path, ManifestView, bool]], wanted: frozenset[str]
) -> tuple[Candidate, ...]:
    words = [package_stems(view) for _, view, _ in read]
    known = Counter(stem for stems in words for stem in stems)
    weight = {stem: math.log1p(len(read) / (known[stem] or 0.5)) for stem in wanted}
    total = sum(weight.values())
    candidates: list[Candidate] = []
    for (path, view, is_trusted), stems in zip(read, words, strict=True):
        shared = sorted(wanted & stems, key=lambda stem: (-weight[stem], stem))
        candidates.append(
            Candidate(
                path=path,
                name=view.name,
                description=view.skill.description,
                score=sum(weight[stem] for stem in shared) / total,
                why=tuple(shared),
                is_trusted=is_trusted,
            )
        )
    return tuple(sorted(candidates, key=lambda c: (-c.score, not c.is_trusted, c.name)))
