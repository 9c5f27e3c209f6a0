"""Base models and adapter files.

from tinker_engine.models import load_base
base = load_base("nano")
print(base.info.digest, base.info.max_context)
"""

from tinker_engine.models.base_model import LoadedBase, load_base

__all__ = ["LoadedBase", "load_base"]
