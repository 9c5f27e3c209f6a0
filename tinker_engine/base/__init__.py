"""The built-in base model `nano`: its files, its card and the script that builds it from scratch.

Importing this package is cheap: it names the folder and loads nothing.

    from tinker_engine.base import NANO_DIR
    from transformers import AutoModelForCausalLM, AutoTokenizer
    model = AutoModelForCausalLM.from_pretrained(NANO_DIR)
    tokenizer = AutoTokenizer.from_pretrained(NANO_DIR)
"""

from pathlib import Path

NANO_DIR: Path = Path(__file__).resolve().parent / "nano"
"""Folder of the built-in model, in the layout `transformers` loads."""

__all__ = ["NANO_DIR"]
