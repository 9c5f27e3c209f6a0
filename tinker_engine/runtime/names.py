"""Names of base models: built-in aliases, the user's alias file, and what one engine offers.

Nothing is substituted silently: an alias is resolved only because a table or the user's file says
so, and every record names the base that was really loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from tinker_engine.errors import ModelLoadError, NotFoundError
from tinker_engine.runtime.records import BaseInfo

# The short names of the training guides, and the models they stand for.
BUILTIN_ALIASES: dict[str, str] = {
    "llama-3.3-70b": "meta-llama/Llama-3.3-70B-Instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "qwen-2.5-72b": "Qwen/Qwen2.5-72B-Instruct",
    "qwen-3-32b": "Qwen/Qwen3-32B",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "deepseek-r1": "deepseek-ai/DeepSeek-R1",
}
_MAX_HOPS = 8


def read_aliases(file: Path) -> dict[str, str]:
    """Built-in aliases with those of a TOML file (`"name" = "target"` lines) over them.

    A missing file is no error. Raises ModelLoadError that names the file and the line's key.
    """
    aliases = dict(BUILTIN_ALIASES)
    if not file.is_file():
        return aliases
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelLoadError(f"alias file {file} can't be read: {error}") from error
    for name, target in content.items():
        if not isinstance(target, str) or not target:
            raise ModelLoadError(
                f"alias file {file}: {name} is {target!r}; expected a model name, as in "
                '"llama-3.3-70b" = "nano" (quote names that hold a dot)'
            )
        aliases[name] = target
    return aliases


def resolve(name: str, aliases: Mapping[str, str]) -> str:
    """What a name stands for after all aliases; raises ModelLoadError for a circle."""
    seen = [name]
    while name in aliases:
        name = aliases[name]
        if name in seen or len(seen) > _MAX_HOPS:
            raise ModelLoadError(f"aliases run in a circle: {' -> '.join([*seen, name])}")
        seen.append(name)
    return name


def findable_name(base: BaseInfo) -> str:
    """The base by a name that SDKs find its tokenizer under: its hub id, else its folder.

    `get_tokenizer` of a sampling client knows nothing but the base's name, and takes either. SDKs
    cut a name with exactly two slashes to its first two parts, hence the third.
    """
    if "/" in base.name:
        return base.name
    return base.path + "/" if base.path.count("/") == 2 else base.path


class OfferedBase:
    """The one base that an engine serves, and the names it answers to."""

    def __init__(
        self,
        asked_for: str,
        aliases: Mapping[str, str],
        loaded_name: str,
        folder: str | None = None,
    ) -> None:
        self._aliases = aliases
        self.target = resolve(asked_for, aliases)
        self._folder = folder or self.target
        known = [loaded_name, asked_for, self.target]
        known += [alias for alias in aliases if resolve(alias, aliases) == self.target]
        self.names: tuple[str, ...] = tuple(dict.fromkeys(known))

    def check(self, name: str) -> None:
        """Raise NotFoundError, listing what is offered, unless `name` is this base."""
        target = resolve(name, self._aliases)
        if name in self.names or target in self.names or _same_folder(target, self._folder):
            return
        raise NotFoundError(
            f"base model {name!r} is not served here; this engine serves {', '.join(self.names)}. "
            "Start another engine with that base model, or write an alias to the offered one"
        )


def _same_folder(one: str, other: str) -> bool:
    try:
        return Path(one).expanduser().samefile(Path(other).expanduser())
    # Besides what isn't there: a zero byte (ValueError), or the home of nobody (RuntimeError).
    except (OSError, ValueError, RuntimeError):
        return False
