"""Packages rebuilt by hand, as an attacker or a foreign writer would build them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from tensafe.tgsp import KeyPair
from tensafe.tgsp.canonical import canonical_json
from tensafe.tgsp.keys import encode64
from tensafe.tgsp.manifest import manifest_hash, signed_message
from tensafe.tgsp.reader import MAGIC, split_package

Change = Callable[[dict[str, Any]], object]


def parts(package: bytes) -> tuple[dict[str, Any], bytes]:
    split = split_package(package)
    return json.loads(split.manifest_bytes), bytes(split.payload)


def assemble(manifest: bytes, payload: bytes) -> bytes:
    return MAGIC + len(manifest).to_bytes(4, "little") + manifest + payload


def edited(package: bytes, change: Change) -> bytes:
    """The package with its manifest changed, hashes and signatures left as they were."""
    manifest, payload = parts(package)
    change(manifest)
    return assemble(canonical_json(manifest), payload)


def resigned(package: bytes, change: Change, signer: KeyPair) -> bytes:
    """The package changed, then hashed and signed anew by `signer` without any gate."""
    manifest, payload = parts(package)
    manifest = copy.deepcopy(manifest)
    change(manifest)
    manifest["integrity"]["manifest_hash"] = manifest_hash(manifest)
    fields = manifest["signatures"]["signed_fields"]
    message = signed_message(manifest, [name for name in fields if name in manifest])
    manifest["signatures"]["ed25519"] = encode64(signer.sign_ed25519(message))
    manifest["signatures"]["dilithium3"] = encode64(signer.sign_ml_dsa_65(message))
    return assemble(canonical_json(manifest), payload)


def foreign(package: bytes, signer: KeyPair) -> bytes:
    """The package as a public reference writer makes it: no keys, stub, two-space indent."""
    manifest, payload = parts(package)
    for name in ("skill_doc", "provenance", "privacy", "evaluation", "gates", "created"):
        del manifest[name]
    for name in ("ed25519_public_key", "ml_dsa_65_public_key"):
        del manifest["creator"][name]
    fields = ["integrity", "creator", "rvu_safety", "lora_config"]
    manifest["integrity"]["manifest_hash"] = manifest_hash(manifest)
    message = signed_message(manifest, fields)
    manifest["signatures"] = {
        "ed25519": encode64(signer.sign_ed25519(message)),
        "dilithium3": encode64(b"DILITHIUM3_STUB"),
        "signed_fields": fields,
    }
    return assemble(json.dumps(manifest, sort_keys=True, indent=2).encode(), payload)
