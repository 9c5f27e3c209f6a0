"""A Llama decoder in plain torch, with the parameter names of `transformers.LlamaForCausalLM`.

Owns the training-time forward pass and the loss. Weights go to and from the `transformers` layout
unchanged (see `export.py`); a test compares the logits of both. Rows are packed: several documents
share one row, attention stays inside a document and positions restart with each.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

Z_LOSS = 1e-4


@dataclass(frozen=True)
class NanoConfig:
    """Shape of the model; the defaults are those of `nano`."""

    vocab_size: int = 4096
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    intermediate_size: int = 704
    max_position_embeddings: int = 1024
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def as_dict(self) -> dict[str, float]:
        """The fields by name."""
        return asdict(self)


class Losses(NamedTuple):
    """`total` is minimised; `nll_sum` / `weight_sum` is the weighted mean loss in nats."""

    total: Tensor
    nll_sum: Tensor
    weight_sum: Tensor


class RMSNorm(nn.Module):
    """Root mean square normalisation, computed in fp32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Give the layer's output, shaped like `x`."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * self.weight).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        width, d = config.hidden_size, config.head_dim
        self.heads, self.kv_heads, self.d = (
            config.num_attention_heads,
            config.num_key_value_heads,
            d,
        )
        self.q_proj = nn.Linear(width, self.heads * d, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * d, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * d, bias=False)
        self.o_proj = nn.Linear(self.heads * d, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """Give the layer's output, shaped like `x`."""
        B, T, _ = x.shape
        q = self.q_proj(x).view(B, T, self.heads, self.d).transpose(1, 2)  # (B, H, T, d)
        k = self.k_proj(x).view(B, T, self.kv_heads, self.d).transpose(1, 2)
        v = self.v_proj(x).view(B, T, self.kv_heads, self.d).transpose(1, 2)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, self.heads * self.d))


class MLP(nn.Module):
    """Gated feed-forward layer."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Give the layer's output, shaped like `x`."""
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One pre-norm decoder layer."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """Give the layer's output, shaped like `x`."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers and final norm: the `model` part of the parameter names."""

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Nano(nn.Module):
    """Decoder with tied input and output embeddings, initialised from `seed`."""

    def __init__(self, config: NanoConfig, *, seed: int) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        generator = torch.Generator().manual_seed(seed)
        residual_std = 0.02 / (2 * config.num_hidden_layers) ** 0.5
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    is_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                    std = residual_std if is_residual else 0.02
                    weight.copy_(torch.randn(weight.shape, generator=generator) * std)

    def features(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Final hidden states (B, T, D); ids and positions (B, T), the bool mask (B, 1, T, T)."""
        config = self.config
        powers = torch.arange(0, config.head_dim, 2, device=tokens.device).float() / config.head_dim
        angles = positions[..., None].float() * (config.rope_theta**-powers)  # (B, T, d/2)
        angles = torch.cat((angles, angles), dim=-1)[:, None]  # (B, 1, T, d)
        x = self.model.embed_tokens(tokens)
        if torch.is_autocast_enabled(tokens.device.type):
            x = x.to(torch.get_autocast_dtype(tokens.device.type))
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.model.layers:
            x = block(x, cos, sin, mask)
        return cast(Tensor, self.model.norm(x))

    def forward(
        self, tokens: Tensor, positions: Tensor, mask: Tensor, targets: Tensor, weights: Tensor
    ) -> Losses:
        """Weighted next-token loss; `targets` and `weights` are (B, T), weight 0 is ignored."""
        x = self.features(tokens, positions, mask)
        logits = nn.functional.linear(x, self.model.embed_tokens.weight).float()  # (B, T, V)
        log_z = torch.logsumexp(logits, dim=-1)
        nll = log_z - logits.gather(-1, targets[..., None]).squeeze(-1)
        weight_sum = weights.sum()
        nll_sum = (nll * weights).sum()
        z = (log_z.square() * weights).sum()
        return Losses((nll_sum + Z_LOSS * z) / weight_sum, nll_sum.detach(), weight_sum.detach())


def packed_mask(positions: Tensor) -> Tensor:
    """Causal mask (B, 1, T, T), True where attention may look; a position of 0 opens a document."""
    documents = (positions == 0).cumsum(-1)
    same = documents[:, None, :, None] == documents[:, None, None, :]
    return same & torch.ones(same.shape[-2:], dtype=torch.bool, device=same.device).tril()
