"""What kept adapters and verdicts of the screening benchmark depend on, as two digests.

Whatever was made under another digest is made anew. The foreign base and the real texts are taken
as fixed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import tensafe
import tinker_engine
from tensafe.screen import ScreenConfig
from tensafe.screen.reference import load_reference
from tensafe.screen.suites import load_suites
from tinker_engine.base import NANO_DIR

_MAKING = ("data", "engine", "recipes", "run", "words")
_ENGINE = ("models", "numerics", "privacy", "recipes", "runtime")
_SCREENING = ("curate", "data", "evaluate", "screen")
_LENGTH = 16


@cache
def training_key() -> str:
    """Digest of recipes and words, the engine's code and the built-in base."""
    here, engine = Path(__file__).parent, Path(tinker_engine.__file__).parent
    own = [here / f"_rate_{name}.py" for name in _MAKING]
    nano = [path.read_bytes() for path in sorted(NANO_DIR.iterdir()) if path.suffix != ".md"]
    return _digest(
        [
            *map(_meaning, (*own, here / "_bad_adapters.py", here / "_clean_adapters.py")),
            *_code(engine, _ENGINE),
            *(hashlib.sha256(data).hexdigest() for data in nano),
        ]
    )


def screening_key() -> str:
    """Digest of `training_key`, the code that screens and counts, limits, suites, classifier."""
    return _digest(
        [
            training_key(),
            _meaning(Path(__file__).parent / "_rate_effect.py"),
            *_code(Path(tensafe.__file__).parent, _SCREENING),
            ScreenConfig().model_dump_json(),
            json.dumps(load_suites().digests),
            load_reference()[1],
            version("alt-profanity-check"),
        ]
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_LENGTH]


def _code(package: Path, rooms: Iterable[str]) -> list[str]:
    return [_meaning(path) for room in rooms for path in sorted((package / room).rglob("*.py"))]


def _meaning(path: Path) -> str:
    """A file's syntax tree without places, comments and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return ast.dump(tree)
