"""What is exported: a verified package's tensors, on the very base that it was made for.

Owns the demands before any file is written: the package is intact, the base's weights, tokenizer
and chat template have the digests that the package states, and every tensor is one half of a LoRA
pair that fits a module of the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tensafe.errors import DataError, ExportRefusedError, UsageError, VerificationError
from tensafe.tgsp.canonical import sha256_hex
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.reader import PackageFormatError, open_package
from tensafe.tgsp.trust import TrustStore
from tensafe.tgsp.verification import Verdict, unlaid, verify

if TYPE_CHECKING:
    from torch import Tensor

    from tinker_engine.models.adapter_files import AdapterConfig
    from tinker_engine.models.base_model import LoadedBase
    from tinker_engine.recipes.chat_format import ChatFormat

BUILT_IN = "nano"


@dataclass(frozen=True)
class VerifiedPayload:
    """The bytes that were verified, so that nothing can change between check and use."""

    view: ManifestView
    payload: bytes
    verdict: Verdict


@dataclass(frozen=True)
class ExportSource:
    """An adapter ready to be written in another format.

    `factors` hold per module A (rank, in) and B (out, rank) in fp32; `stop` are the texts after
    which an answer ends.
    """

    view: ManifestView
    verdict: Verdict
    payload: bytes
    base: LoadedBase
    config: AdapterConfig
    factors: Mapping[str, tuple[Tensor, Tensor]]
    chat: ChatFormat
    stop: tuple[str, ...]

    @property
    def scale(self) -> float:
        """Alpha / rank."""
        return self.config.alpha / self.config.rank


def read_verified(path: Path, trust: TrustStore, *, require_trusted: bool) -> VerifiedPayload:
    """Verify a package and give the payload of the same bytes.

    Raises:
        VerificationError: not intact, or not trusted when that is required.
        DataError: there is no such file, or it can't be read.
    """
    try:
        with open_package(path) as package:
            result = verify(package, trust)
            manifest = result.require(trusted=require_trusted)
            payload = bytes(package.payload)
    except PackageFormatError as error:
        result = unlaid(error)
        raise VerificationError(f"{path}: {result.why}") from error
    except VerificationError as error:
        raise VerificationError(f"{path}: {error}") from error
    if sha256_hex(payload) != result.payload_hash:
        raise VerificationError(f"{path}: changed while it was read; nothing was exported")
    return VerifiedPayload(manifest.view, payload, result.verdict)


def load_source(path: Path, verified: VerifiedPayload, base_model: str | None) -> ExportSource:
    """Load the base and put the package's tensors into pairs.

    Raises:
        UsageError: the package needs a base that the user has to name.
        VerificationError: the base, its tokenizer or template is another than the package states.
        ExportRefusedError: a tensor fits no module of the base, or isn't part of a LoRA pair.
    """
    from safetensors.torch import load

    from tinker_engine.errors import CheckpointError, ModelLoadError
    from tinker_engine.models import load_base
    from tinker_engine.models.adapter_files import AdapterConfig, pair_factors
    from tinker_engine.models.adapter_logits import adapter_config

    view = verified.view
    stated = view.model.base_model
    if base_model is None and stated != BUILT_IN:
        raise UsageError(
            f"{path}: made for base model {stated!r}; give that base with --base-model, as a "
            "folder or a hub id"
        )
    try:
        base = load_base(base_model or stated)
    except ModelLoadError as error:
        raise DataError(f"{error}; give the package's base ({stated}) with --base-model") from error
    _require_base(path, view, base)
    lora = view.lora_config
    shape = AdapterConfig(stated, lora.rank, lora.alpha, lora.target_modules, False)
    try:
        factors = pair_factors(load(verified.payload), shape, str(path))
        if not factors:
            raise ExportRefusedError(f"{path}: the payload holds no LoRA pair")
        config = adapter_config(
            base, factors, base_name=stated, alpha=lora.alpha, targets=lora.target_modules
        )
    except (CheckpointError, ModelLoadError) as error:
        raise ExportRefusedError(f"{error}; nothing was exported") from error
    chat = _chat(base)
    return ExportSource(
        view, verified.verdict, verified.payload, base, config, factors, chat, _stop(base, chat)
    )


def _require_base(path: Path, view: ManifestView, base: LoadedBase) -> None:
    provenance = view.provenance or {}
    found = {
        "base_weights": base.info.digest,
        "tokenizer": base.info.tokenizer_digest,
        "chat_template": base.info.chat_template_digest,
    }
    for name, digest in found.items():
        stated = provenance.get(name)
        if stated != digest:
            shown = f"{stated[:16]}..." if isinstance(stated, str) and stated else "nothing"
            raise VerificationError(
                f"{path}: made for {view.model.base_model!r} with {name} {shown}, but "
                f"{base.info.path} has {digest[:16]}...; give the base it was trained on with "
                "--base-model"
            )


def _chat(base: LoadedBase) -> ChatFormat:
    from tinker_engine.errors import RequestError
    from tinker_engine.recipes.chat_format import ChatFormat

    try:
        return ChatFormat(base.tokenizer)
    except RequestError as error:
        raise ExportRefusedError(f"{base.info.path}: {error}") from error


def _stop(base: LoadedBase, chat: ChatFormat) -> tuple[str, ...]:
    """The end-of-sequence token first, then what the base's generation settings add."""
    settings = getattr(base.model, "generation_config", None)
    more = getattr(settings, "eos_token_id", None)
    ids = [chat.eos_token_id, *(more if isinstance(more, list) else [more])]
    known = [number for number in dict.fromkeys(ids) if isinstance(number, int)]
    return tuple(cast(str, base.tokenizer.convert_ids_to_tokens(number)) for number in known)
