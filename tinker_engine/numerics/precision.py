"""The arithmetic that `precision=auto` stands for. Why: docs/design/0002-precision.md."""

from __future__ import annotations

import torch

# Narrower bases train in minutes either way, and in fp32 to the same weights on any processor.
NARROWEST_BF16 = 512
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def auto_dtype(hidden_size: int) -> torch.dtype:
    """Of training passes over a frozen base this wide, on this processor.

    bf16 where the processor multiplies it natively and the base is wide enough to gain; else fp32.
    A matter of model and machine alone, so that a resumed run goes on as it began.
    """
    abilities = torch.cpu.get_capabilities()
    is_native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return torch.bfloat16 if is_native and hidden_size >= NARROWEST_BF16 else torch.float32
