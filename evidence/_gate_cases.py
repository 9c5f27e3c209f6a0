"""Bad packages, one for each rule of the load gate, and some that break several at once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from evidence._gate_packages import (
    BadCase,
    Make,
    Raw,
    Tensors,
    assembled,
    first,
    of_manifest,
    of_record,
    of_tensors,
    resigned,
    signed,
    with_changed,
)
from tensafe.tgsp import KeyPair
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.reader import split_package

OTHER = "0" * 64


def bad_cases() -> list[BadCase]:
    """All cases, by step."""
    return [*_bytes(), *_signatures(), *_lora(), *_tensors(), *_base(), *_record(), *_combined()]


def _bytes() -> list[BadCase]:
    return [
        BadCase("empty file", "payload_hash", "too few", lambda p, s: b""),
        BadCase("another magic", "payload_hash", "magic", lambda p, s: b"PK\x03\x04" + p[4:]),
        BadCase("version 2.0", "payload_hash", "only 1.0", lambda p, s: p[:4] + b"\x02" + p[5:]),
        BadCase("cut short", "payload_hash", "content has", lambda p, s: p[:-64]),
        BadCase("one byte more", "payload_hash", "content has", lambda p, s: p + b"\0"),
        BadCase("one bit of a weight", "payload_hash", "content has", _flip_last),
        BadCase("4 GiB manifest", "payload_hash", "at most", _huge),
        BadCase(
            "a pickle inside", "payload_hash", "pickle", _payload(b"\x80\x04\x95" + b"\0" * 64)
        ),
        BadCase("a zip inside", "payload_hash", "zip", _payload(b"PK\x03\x04" + b"\0" * 64)),
        BadCase("a GGUF inside", "payload_hash", "GGUF", _payload(b"GGUF" + b"\0" * 64)),
        BadCase("no tensors behind the header", "payload_hash", "beyond", _without_data),
    ]


def _signatures() -> list[BadCase]:
    return [
        BadCase("manifest changed, not signed", "signatures", "manifest_hash", _unsigned),
        BadCase("hash made anew, not signed", "signatures", "does not verify", _only_hashed),
        BadCase("Ed25519 swapped for zeros", "signatures", "ed25519", _zeroed("ed25519", 64)),
        BadCase("ML-DSA-65 swapped for zeros", "signatures", "ml_dsa", _zeroed("dilithium3", 3309)),
        BadCase("a stub post-quantum signature", "signatures", "stub", _zeroed("dilithium3", 64)),
        BadCase("integrity not signed", "signatures", "signed_fields", _fewer_fields),
        BadCase("manifest spelt otherwise", "signatures", "canonical_form", _respelt),
        BadCase("a key twice", "signatures", "twice", _doubled),
        BadCase("a stranger's post-quantum key", "signatures", "another", of_manifest(_other_key)),
        BadCase(
            "another fingerprint", "signatures", "fingerprint",
            of_manifest(lambda m: m["creator"].update(public_key_fingerprint=OTHER)),
        ),
        BadCase("signed by a stranger", "creator", "not in your trust store", _by_stranger),
    ]  # fmt: skip


def _lora() -> list[BadCase]:
    def config(**changes: Any) -> Make:
        return of_manifest(lambda m: m["lora_config"].update(changes))

    return [
        BadCase("rank above the policy", "lora_config", "policy's 256", config(rank=512)),
        BadCase("rank other than the tensors'", "lora_config", "expected [", config(rank=7)),
        BadCase("alpha without bounds", "lora_config", "alpha / rank", config(alpha=1e6)),
        BadCase("trained biases", "lora_config", "bias", config(bias="all")),
        BadCase("another task", "lora_config", "task_type", config(task_type="SEQ_CLS")),
        BadCase(
            "a target that the base lacks", "lora_config", "matches no linear module",
            of_manifest(lambda m: m["lora_config"]["target_modules"].append("c_attn")),
        ),
        BadCase(
            "a target without tensors", "lora_config", "has no tensors",
            of_manifest(lambda m: m["lora_config"]["target_modules"].append("lm_head")),
        ),
        BadCase(
            "tensors of no target", "lora_config", "no declared target",
            of_manifest(lambda m: m["lora_config"]["target_modules"].remove("q_proj")),
        ),
        BadCase(
            "a target twice", "lora_config", "twice",
            of_manifest(lambda m: m["lora_config"]["target_modules"].append("q_proj")),
        ),
    ]  # fmt: skip


def _tensors() -> list[BadCase]:
    return [
        BadCase("an extra tensor", "lora_config", "not a tensor of a LoRA pair",
                of_tensors(lambda t: {**t, "extra": np.zeros(4, np.float32)})),
        BadCase("a whole weight matrix", "lora_config", "not a tensor of a LoRA pair",
                of_tensors(lambda t: {**t, "base_model.model.lm_head.weight": np.ones((2, 2))})),
        BadCase("a lost half", "lora_config", "is missing",
                of_tensors(lambda t: {k: v for k, v in t.items() if k != first(t, "B")})),
        BadCase("a layer that the base lacks", "lora_config", "no such linear module",
                of_tensors(_renamed_layer)),
        BadCase("a wrong width", "lora_config", "expected [",
                of_tensors(lambda t: with_changed(t, "A", lambda a: a[:, :-8]))),
        BadCase("whole numbers", "lora_config", "not a float",
                of_tensors(lambda t: with_changed(t, "B", lambda b: b.astype(np.int32)))),
        BadCase("NaN in a factor", "rvu_v2", "not finite", of_tensors(lambda t: _poked(t, np.nan))),
        BadCase("infinity in a factor", "rvu_v2", "not finite",
                of_tensors(lambda t: _poked(t, np.inf))),
        BadCase("an adapter that changes nothing", "rvu_v2", "svd_analysis",
                of_tensors(lambda t: {k: v * 0 for k, v in t.items()})),
        BadCase("weights a thousand times too large", "rvu_v2", "run again here",
                of_tensors(lambda t: {k: v * 1000 for k, v in t.items()})),
        BadCase("one module grown a hundredfold", "rvu_v2", "run again here",
                of_tensors(lambda t: with_changed(t, "B", lambda b: b * 100 + 1))),
    ]  # fmt: skip


def _base() -> list[BadCase]:
    def provenance(**changes: str) -> Make:
        return of_manifest(lambda m: m["provenance"].update(changes))

    def model(**changes: Any) -> Make:
        return of_manifest(lambda m: m["model"].update(changes))

    return [
        BadCase("other base weights", "base", "base_weights", provenance(base_weights=OTHER)),
        BadCase("another tokenizer", "base", "tokenizer", provenance(tokenizer=OTHER)),
        BadCase("another chat template", "base", "chat_template", provenance(chat_template=OTHER)),
        BadCase("no word of its base", "base", "missing", provenance(base_weights="")),
        BadCase("no provenance", "base", "missing", of_manifest(lambda m: m.pop("provenance"))),
        BadCase("another architecture", "base", "made for", model(architecture="GPT2LMHeadModel")),
        BadCase("for a mixture of experts", "base", "experts", model(num_experts=8)),
    ]


def _record() -> list[BadCase]:
    return [
        BadCase("screening failed", "rvu_v2", "says that screening failed",
                of_manifest(lambda m: m["rvu_safety"].update(screening_passed=False))),
        BadCase("no screening record", "rvu_v2", "no screening record",
                of_manifest(lambda m: m.pop("screening"))),
        BadCase("a record of another hash", "rvu_v2", "not the hash",
                of_manifest(lambda m: m["screening"].update(passed=True, note="more"))),
        BadCase("a record of other weights", "rvu_v2", "other weights",
                of_record(lambda r: r.update(adapter_digest=OTHER))),
        BadCase("a record of other data", "rvu_v2", "other training data",
                of_record(lambda r: r.update(train_digest=OTHER))),
        BadCase("a layer left out", "rvu_v2", "missing", of_record(lambda r: r["layers"].pop(0))),
        BadCase("a layer that failed", "rvu_v2", "did not pass",
                of_record(lambda r: r["layers"][1].update(passed=False))),
        BadCase("a layer that measured nothing", "rvu_v2", "measured nothing",
                of_record(lambda r: r["layers"][2].update(checks=[]))),
        BadCase("a check over its limit", "rvu_v2", "yet is said to pass",
                of_record(lambda r: r["layers"][0]["checks"][0].update(value=0.9))),
        BadCase("looser limits", "rvu_v2", "looser",
                of_record(lambda r: r["limits"]["toxicity"].update(max_rate=0.9))),
        BadCase("fewer probes", "rvu_v2", "looser",
                of_record(lambda r: r["limits"]["ip"].update(probed_records=1))),
        BadCase("limits kept back", "rvu_v2", "doesn't say",
                of_record(lambda r: r["limits"].pop("bias"))),
    ]  # fmt: skip


def _combined() -> list[BadCase]:
    def all_of(raw: Raw) -> None:
        raw["lora_config"]["rank"] = 512
        raw["provenance"]["tokenizer"] = OTHER
        raw["rvu_safety"]["screening_passed"] = False

    return [
        BadCase("rank, tokenizer and screening", "lora_config", "policy's", of_manifest(all_of)),
        BadCase("rank, tokenizer and screening", "base", "tokenizer", of_manifest(all_of)),
        BadCase("rank, tokenizer and screening", "rvu_v2", "says that", of_manifest(all_of)),
        BadCase("a stranger's, with other weights", "creator", "trust", _stranger_other_weights),
    ]


def _flip_last(package: bytes, signer: KeyPair) -> bytes:
    return package[:-1] + bytes([package[-1] ^ 1])


def _huge(package: bytes, signer: KeyPair) -> bytes:
    return package[:6] + (2**32 - 1).to_bytes(4, "little") + package[10:]


def _payload(payload: bytes) -> Make:
    return lambda package, signer: resigned(package, signer, payload=payload)


def _without_data(package: bytes, signer: KeyPair) -> bytes:
    payload = bytes(split_package(package).payload)
    end = 8 + int.from_bytes(payload[:8], "little")
    return resigned(package, signer, payload=payload[:end])


def _raw(package: bytes) -> tuple[Raw, bytes]:
    opened = split_package(package)
    return json.loads(opened.manifest_bytes), bytes(opened.payload)


def _unsigned(package: bytes, signer: KeyPair) -> bytes:
    raw, payload = _raw(package)
    raw["domain"] = "medical"
    return assembled(raw, payload)


def _only_hashed(package: bytes, signer: KeyPair) -> bytes:
    raw, payload = _raw(package)
    old = dict(raw["signatures"])
    raw["domain"] = "medical"
    raw = signed(raw, signer)
    raw["signatures"] = old
    return assembled(raw, payload)


def _zeroed(which: str, size: int) -> Make:
    from tensafe.tgsp.keys import encode64

    def make(package: bytes, signer: KeyPair) -> bytes:
        raw, payload = _raw(package)
        raw["signatures"][which] = encode64(bytes(size))
        return assembled(raw, payload)

    return make


def _fewer_fields(package: bytes, signer: KeyPair) -> bytes:
    raw, payload = _raw(package)
    raw["signatures"]["signed_fields"] = ["creator", "lora_config", "rvu_safety"]
    return assembled(signed(raw, signer), payload)


def _respelt(package: bytes, signer: KeyPair) -> bytes:
    raw, payload = _raw(package)
    manifest = json.dumps(raw, sort_keys=False).encode()
    return package[:6] + len(manifest).to_bytes(4, "little") + manifest + payload


def _doubled(package: bytes, signer: KeyPair) -> bytes:
    raw, payload = _raw(package)
    manifest = canonical_json(raw).replace(b'"name":', b'"name":"x","name":', 1)
    return package[:6] + len(manifest).to_bytes(4, "little") + manifest + payload


def _other_key(raw: Raw) -> None:
    from tensafe.tgsp.keys import public_keys_fields

    other = public_keys_fields(_stranger().public.keys)
    raw["creator"]["ml_dsa_65_public_key"] = other["ml_dsa_65_public_key"]


def _stranger() -> KeyPair:
    from tensafe.tgsp import Identity

    return KeyPair.generate(Identity("A stranger", "stranger@example.org"))


def _by(raw: Raw, signer: KeyPair) -> None:
    from tensafe.tgsp.keys import public_keys_fields

    public = signer.public
    raw["creator"].update(
        name=public.identity.name,
        public_key_fingerprint=public.fingerprint,
        **public_keys_fields(public.keys),
    )


def _by_stranger(package: bytes, signer: KeyPair) -> bytes:
    stranger = _stranger()
    return resigned(package, stranger, lambda raw: _by(raw, stranger))


def _stranger_other_weights(package: bytes, signer: KeyPair) -> bytes:
    stranger = _stranger()
    data = resigned(package, stranger, lambda raw: _by(raw, stranger))
    return data[:-1] + bytes([data[-1] ^ 1])


def _renamed_layer(tensors: Tensors) -> Tensors:
    return {name.replace("layers.0.", "layers.99."): value for name, value in tensors.items()}


def _poked(tensors: Tensors, value: float) -> Tensors:
    def poke(array: Any) -> Any:
        changed = array.copy()
        changed.flat[3] = value
        return changed

    return with_changed(tensors, "A", poke)
