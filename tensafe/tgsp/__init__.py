"""Signed packages: the public TGSP 1.1 format, written, read and verified.

    from pathlib import Path
    from tensafe.tgsp import load_trust, trust_path, verify_package

    result = verify_package(Path("support.tgsp"), load_trust(trust_path()))
    print(result.verdict, result.why)

`write_package` is the only writer and demands the three gate records.
"""

from __future__ import annotations

from tensafe.tgsp.keys import Identity, KeyPair, PublicIdentity, PublicKeys, Signer
from tensafe.tgsp.keystore import KeyStore, ensure_signing_key, tensafe_home, trust_path
from tensafe.tgsp.metadata import (
    EvaluationInfo,
    LoraShape,
    ModelInfo,
    PackageMetadata,
    PrivacyInfo,
    Provenance,
    ScreeningInfo,
    SkillInfo,
)
from tensafe.tgsp.passphrase import passphrase_source
from tensafe.tgsp.reader import Package, open_package, package_digest
from tensafe.tgsp.skill_doc import (
    LayerResult,
    SkillFacts,
    read_custom_skill_doc,
    write_skill_doc,
)
from tensafe.tgsp.trust import TrustStore, load_trust
from tensafe.tgsp.verification import Verification, verify, verify_package
from tensafe.tgsp.writer import PackageDigest, write_package

__all__ = [
    "EvaluationInfo",
    "Identity",
    "KeyPair",
    "KeyStore",
    "LayerResult",
    "LoraShape",
    "ModelInfo",
    "Package",
    "PackageDigest",
    "PackageMetadata",
    "PrivacyInfo",
    "Provenance",
    "PublicIdentity",
    "PublicKeys",
    "ScreeningInfo",
    "Signer",
    "SkillFacts",
    "SkillInfo",
    "TrustStore",
    "Verification",
    "ensure_signing_key",
    "load_trust",
    "open_package",
    "package_digest",
    "passphrase_source",
    "read_custom_skill_doc",
    "tensafe_home",
    "trust_path",
    "verify",
    "verify_package",
    "write_package",
    "write_skill_doc",
]
