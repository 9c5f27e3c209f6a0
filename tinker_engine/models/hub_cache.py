"""Models of the Hugging Face hub that are on this machine already; no torch, no network."""

from __future__ import annotations

from pathlib import Path

# What a base model consists of; weights in other formats than safetensors are never loaded.
HUB_PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def cached_folder(name: str) -> Path | None:
    """The cached snapshot of a hub id, if its configuration and weights are in it.

    Loading a base by a name of which this is not None reaches for no network.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(name, allow_patterns=list(HUB_PATTERNS), local_files_only=True)
        )
    # The hub client raises a dozen unrelated classes for "not there".
    except Exception:
        return None
    is_whole = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if is_whole else None
