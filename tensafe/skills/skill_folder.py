"""Skill documents as folders that agents look for: `NAME/SKILL.md` (agentskills.io)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from tensafe.errors import DataError
from tensafe.files import atomic_path
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.skill_doc import require_skill_doc, skill_name

TG_TINKER = "tg-tinker"


def own_skill() -> str:
    """The document that tells agents how to use TG Tinker."""
    return files("tensafe.skills.tg_tinker").joinpath("SKILL.md").read_text(encoding="utf-8")


def package_skill(view: ManifestView) -> str:
    """A package's skill document.

    Raises:
        DataError: it carries none, or one that breaks the format's rules.
    """
    if not view.skill_doc:
        raise DataError(f"{view.name} carries no skill document")
    require_skill_doc(view.skill_doc)
    return view.skill_doc


def write_skill(document: str, name: str, out: Path) -> Path:
    """Write `out/NAME/SKILL.md` and give its path. An existing one of the same text is kept.

    Raises:
        DataError: another document is there already.
    """
    path = out / skill_name(name) / "SKILL.md"
    if path.exists() and path.read_text(encoding="utf-8") != document:
        raise DataError(f"{path} exists with another text; remove it or name another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(document, encoding="utf-8")
    return path
