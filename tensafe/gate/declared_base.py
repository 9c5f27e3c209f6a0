"""The base that an adapter or a package names, used only where it is on this machine already.

What a file says must not make this machine reach for a network: a hub id in it is looked up in
the local cache alone, and counts only where the engine would load it from there, weights included.
A base that the user names is another matter.
"""

from __future__ import annotations

from pathlib import Path


def local_base(declared: str) -> str | None:
    """The name by which the engine finds the declared base here; None where it isn't here."""
    from tinker_engine.config import EngineConfig
    from tinker_engine.models.hub_cache import cached_folder
    from tinker_engine.runtime.names import read_aliases, resolve

    name = resolve(declared, read_aliases(EngineConfig().aliases_file))
    if name == "nano" or (Path(name).expanduser() / "config.json").is_file():
        return declared
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    return None if cached_folder(name) is None else declared
