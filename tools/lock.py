"""Write requirements.lock (core) and requirements-dev.lock (all) from what is installed.

The core lock is the closure of the project's own dependencies; the dev lock is everything else
that is installed. `torch` is pinned without its local build label, so that any build of the
version satisfies it.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"pip", "uv", "wheel", "aragora"}


def canonical(name: str) -> str:
    """Normalise a distribution name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(requirements: list[str]) -> set[str]:
    """Names of all installed distributions that the requirements need, themselves included."""
    wanted: set[str] = set()
    queue = [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        extras = requirement.extras or {""}
        key = canonical(requirement.name)
        if key in wanted and not requirement.extras:
            continue
        try:
            distribution = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        wanted.add(key)
        for text in distribution.requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                queue.append(child)
    return wanted


def pin(name: str) -> str:
    """`name==version` without a local build label."""
    return f"{name}=={metadata.version(name).split('+')[0]}"


def main() -> None:
    """Write both files, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = closure([*project["dependencies"], "setuptools"])
    everything = closure(
        [
            *project["dependencies"],
            *(r for group in project["optional-dependencies"].values() for r in group),
            "setuptools",
        ]
    )
    (ROOT / "requirements.lock").write_text("\n".join(pin(n) for n in sorted(core - TOOLS)) + "\n")
    rest = sorted(everything - core - TOOLS)
    (ROOT / "requirements-dev.lock").write_text(
        "-r requirements.lock\n" + "\n".join(pin(n) for n in rest) + "\n"
    )


if __name__ == "__main__":
    main()
