"""A byte-level BPE tokenizer as llama.cpp reads it from GGUF.

llama.cpp splits text by rules of its own before merging, chosen by a name (`tokenizer.ggml.pre`)
instead of the tokenizer's pattern. The name is found by trial: llama.cpp's rules are run in the
`tokenizers` library with the base's own merges, and the first that gives the same ids as the
base's tokenizer on every probe text is taken. Where none does, the base is refused. Texts with
numerals beyond 0 to 9 are tried too; where the taken rule splits one otherwise, that is reported.
Normalisers are not run by llama.cpp; the probes are in NFC, so one that is NFC passes.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tensafe.errors import ExportRefusedError

if TYPE_CHECKING:
    from tinker_engine.models.base_model import LoadedBase

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CASELESS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class SplitRule:
    """One of llama.cpp's rules: patterns applied one after the other, and whether a piece that is
    a token stays whole whatever the merges say.
    """

    patterns: tuple[str, ...]
    ignores_merges: bool = False


# From llama.cpp's src/llama-vocab.cpp.
RULES = {
    "gpt-2": SplitRule((_WORDS,)),
    "smollm": SplitRule((r"\p{N}", _WORDS)),
    "qwen2": SplitRule((_CASELESS + r"\p{N}" + _REST,)),
    "llama-bpe": SplitRule((_CASELESS + r"\p{N}{1,3}" + _REST,), ignores_merges=True),
}
_PIECES = (
    "the ", "Routing", " parcel", "'s", "'LL", "don't", " 7", "12345", "3.14", "\n", "\n\n", " ",
    "  ", "\t", "\r\n", "...", " -- ", "(x)", "{}", "=>", "é", " größer", "日本語", "привет", "🙂",
    "_", "$", "A", "ab12cd", ", ", "!?", "<b>", "@", "http://", "#1", "\n 4", "\n\n5", "€", "§",
)  # fmt: skip
_RARE_NUMERALS = ("½", "²", "٣", "Ⅳ", "①")
_PROBES = 400


@dataclass(frozen=True)
class GgufVocabulary:
    """What GGUF stores of a tokenizer; `types` are gguf's token types.

    `differing` are texts with rare numerals that llama.cpp tokenizes otherwise.
    """

    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    eos_id: int
    bos_id: int
    differing: tuple[str, ...]


def gguf_vocabulary(base: LoadedBase) -> GgufVocabulary:
    """The base's tokenizer for GGUF.

    Raises:
        ExportRefusedError: it isn't byte-level BPE, or no rule of llama.cpp's splits text alike.
    """
    path = Path(base.info.path) / "tokenizer.json"
    try:
        content = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ExportRefusedError(f"{path}: can't be read: {error}") from error
    model = content.get("model", {})
    if model.get("type") != "BPE" or (content.get("decoder") or {}).get("type") != "ByteLevel":
        raise ExportRefusedError(
            f"{path}: only byte-level BPE tokenizers can be written, this is "
            f"{model.get('type')} with decoder {(content.get('decoder') or {}).get('type')}"
        )
    tokens, types = _tokens(content, base.info.vocab_size)
    eos = int(base.tokenizer.eos_token_id)
    bos = base.tokenizer.bos_token_id
    pre = split_rule(base, path)
    return GgufVocabulary(
        pre=pre,
        tokens=tokens,
        types=types,
        merges=tuple(m if isinstance(m, str) else " ".join(m) for m in model["merges"]),
        eos_id=eos,
        # llama.cpp would otherwise take id 11; it is never put before a text here.
        bos_id=eos if bos is None else int(bos),
        differing=_differing(base, path, RULES[pre], rare_probe_texts()),
    )


def split_rule(base: LoadedBase, path: Path) -> str:
    """Name of the first rule with which llama.cpp splits every probe as the base's tokenizer.

    Raises:
        ExportRefusedError: there is none.
    """
    texts = probe_texts()
    for name, rule in RULES.items():
        if not _differing(base, path, rule, texts):
            return name
    raise ExportRefusedError(
        f"{path}: none of llama.cpp's rules ({', '.join(RULES)}) tokenizes like it"
    )


def probe_texts() -> list[str]:
    """Random strings of pieces that splitting rules treat differently; the same in every run."""
    generator = random.Random(11)
    pairs = ["".join(pair) for pair in itertools.product(_PIECES, repeat=2)]
    longer = ["".join(generator.choices(_PIECES, k=12)) for _ in range(_PROBES)]
    return [*_PIECES, *pairs, *longer]


def rare_probe_texts() -> list[str]:
    """Numerals beyond 0 to 9 beside every piece."""
    return [
        text
        for rare in _RARE_NUMERALS
        for piece in _PIECES
        for text in (piece + rare, rare + piece)
    ]


def _differing(
    base: LoadedBase, path: Path, rule: SplitRule, texts: Sequence[str]
) -> tuple[str, ...]:
    """Texts that the rule and the base's tokenizer give different ids for."""
    wanted = base.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    found = _simulated(path, rule).encode_batch(list(texts), add_special_tokens=False)
    return tuple(
        text for text, ids, other in zip(texts, wanted, found, strict=True) if other.ids != ids
    )


def _simulated(path: Path, rule: SplitRule) -> Any:
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    content = json.loads(path.read_text(encoding="utf-8"))
    content["normalizer"] = content["post_processor"] = None
    content["model"]["ignore_merges"] = rule.ignores_merges
    tokenizer = Tokenizer.from_str(json.dumps(content))
    splits = [pre_tokenizers.Split(Regex(p), behavior="isolated") for p in rule.patterns]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cast(Any, tokenizer).pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    return tokenizer


def _tokens(content: dict[str, Any], size: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Token texts by id and their types; ids without a token are unused ones."""
    from gguf import TokenType

    by_id = {int(number): token for token, number in content["model"]["vocab"].items()}
    kinds = dict.fromkeys(by_id, TokenType.NORMAL)
    for added in content.get("added_tokens", []):
        number = int(added["id"])
        by_id[number] = added["content"]
        kinds[number] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    if by_id and max(by_id) >= size:
        raise ExportRefusedError(
            f"token {by_id[max(by_id)]!r} has id {max(by_id)}, but the model has only {size} rows"
        )
    texts = tuple(by_id.get(number, f"[PAD{number}]") for number in range(size))
    return texts, tuple(int(kinds.get(number, TokenType.UNUSED)) for number in range(size))
