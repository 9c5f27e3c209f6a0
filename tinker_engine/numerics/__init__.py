"""Tensor functions of the engine: LoRA, packing, losses, per-example clipping, optimizer, sampling.

Nothing here knows of HTTP, files or ids. Shapes in comments: N rows (tokens of a microbatch laid
end to end), D hidden width, V vocabulary, b examples, T positions of one example, r LoRA rank.
"""
