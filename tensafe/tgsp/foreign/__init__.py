"""Adapters that were made elsewhere: found, read without running code, put into PEFT's layout.

from tensafe.tgsp.foreign import find_adapter, write_peft

found = find_adapter(Path("some_lora/"), allow_pickle=False)
adapter = write_peft(found, Path("adapter"), alpha=None, base_model=None)
"""

from tensafe.tgsp.foreign.finding import FoundAdapter, find_adapter
from tensafe.tgsp.foreign.peft_layout import PeftAdapter, fitting_targets, write_peft

__all__ = ["FoundAdapter", "PeftAdapter", "find_adapter", "fitting_targets", "write_peft"]
