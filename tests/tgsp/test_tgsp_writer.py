"""The one writer: what it demands before anything is written, and what it leaves behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rewriting import parts
from sample_package import adapter, digest, gates, key_pair, metadata, trusting

from tensafe.errors import DataError, GateRefusedError, VerificationError
from tensafe.gate.records import ThreeGates
from tensafe.tgsp import PackageMetadata, package_digest, verify_package, write_package
from tensafe.tgsp.canonical import canonical_json, sha256_hex

SIGNER = key_pair()


def write(path: Path, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "payload": adapter(),
        "metadata": metadata(),
        "gates": gates(),
        "signer": SIGNER,
        **changes,
    }
    return write_package(path, **options)


def changed_gates(gate: str, /, **changes: Any) -> ThreeGates:
    return replace(gates(), **{gate: replace(getattr(gates(), gate), **changes)})


def changed_metadata(part: str, **changes: Any) -> PackageMetadata:
    return replace(metadata(), **{part: replace(getattr(metadata(), part), **changes)})


def test_the_digests_are_those_of_the_file(tmp_path: Path) -> None:
    written = write(tmp_path / "a.tgsp")
    assert written.package == package_digest(written.path)
    assert written.payload == sha256_hex(adapter())
    assert written.size_bytes == written.path.stat().st_size
    result = verify_package(written.path, trusting(SIGNER.public))
    assert result.is_trusted
    assert result.require().view.integrity.manifest_hash == written.manifest
    assert os.listdir(tmp_path) == ["a.tgsp"]


def test_a_payload_file_gives_the_same_package(tmp_path: Path) -> None:
    (tmp_path / "adapter.safetensors").write_bytes(adapter())
    one = write(tmp_path / "a.tgsp")
    two = write(tmp_path / "b.tgsp", payload=tmp_path / "adapter.safetensors")
    assert (one.payload, one.manifest) == (two.payload, two.manifest)


def test_everything_but_the_hedged_signature_is_deterministic(tmp_path: Path) -> None:
    one, two = (parts(write(tmp_path / f"{i}.tgsp").path.read_bytes()) for i in range(2))
    assert one[0]["signatures"].pop("dilithium3") != two[0]["signatures"].pop("dilithium3")
    assert one == two


def test_without_privacy_the_package_says_so(tmp_path: Path) -> None:
    written = write(
        tmp_path / "a.tgsp", metadata=metadata(private=False), gates=gates(private=False)
    )
    manifest, _ = parts(written.path.read_bytes())
    assert manifest["privacy"] == {"mechanism": "none"}
    assert manifest["gates"]["dp_budget"]["verdict"] == "waived"
    assert "without** differential privacy" in manifest["skill_doc"]


def test_the_nine_fields_and_the_defaults_for_elsewhere_are_written(tmp_path: Path) -> None:
    manifest, _ = parts(write(tmp_path / "a.tgsp").path.read_bytes())
    assert manifest["lora_config"] == {
        "rank": 2,
        "alpha": 4,
        "target_modules": ["q_proj"],
        "lora_dropout": 0.0,
        "bias": "none",
        "task_type": "CAUSAL_LM",
        "simd_slots": 8192,
        "cols_per_ct": 5,
        "batches": 6,
    }
    assert {"allowlist", "svd_analysis", "mahalanobis_ood"} <= set(manifest["rvu_safety"]["layers"])
    assert manifest["creator"]["verified"] is False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gates": changed_gates("qa_verify", verdict="failed", score=0.5)}, "qa_verify failed"),
        ({"gates": changed_gates("rvu_v2_pass", verdict="failed", score=1.0)}, "rvu_v2_pass"),
        ({"gates": changed_gates("dp_budget", verdict="failed", score=9.0)}, "dp_budget failed"),
        ({"gates": changed_gates("qa_verify", verdict="waived")}, "can't be waived"),
        ({"gates": changed_gates("rvu_v2_pass", verdict="waived")}, "can't be waived"),
        ({"gates": changed_gates("dp_budget", verdict="waived")}, "waived exactly without"),
        ({"gates": gates(), "metadata": metadata(private=False)}, "waived exactly without"),
        ({"gates": changed_gates("qa_verify", score=0.7)}, "at least 0.8"),
        ({"gates": changed_gates("qa_verify", threshold=0.5)}, "at least 0.8"),
        ({"gates": changed_gates("qa_verify", score=1.5)}, "at least 0.8"),
        ({"gates": changed_gates("qa_verify", score=float("nan"))}, "finite"),
        ({"gates": changed_gates("dp_budget", threshold=float("inf"))}, "finite"),
        ({"gates": changed_gates("qa_verify", score=0.95)}, "not the one qa_verify judged"),
        ({"gates": changed_gates("qa_verify", report_digest="")}, "not the one qa_verify judged"),
        ({"gates": changed_gates("rvu_v2_pass", report_digest="")}, "not the one rvu_v2_pass"),
        ({"gates": changed_gates("rvu_v2_pass", score=1.0)}, "layer failed"),
        ({"gates": changed_gates("dp_budget", score=8.5)}, "spent epsilon"),
        ({"gates": changed_gates("dp_budget", name="qa_verify")}, "is one of qa_verify"),
        ({"metadata": changed_metadata("screening", passed=False)}, "layer failed"),
        ({"metadata": changed_metadata("screening", layers=("toxicity",))}, "without the layers"),
        ({"metadata": changed_metadata("privacy", epsilon=7.95)}, "spent epsilon"),
        ({"metadata": changed_metadata("evaluation", interval=(0.95, 0.97))}, "interval"),
    ],
)
def test_a_gate_that_says_no_leaves_no_file(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(GateRefusedError, match=reason):
        write(tmp_path / "a.tgsp", **changes)
    assert os.listdir(tmp_path) == []


def test_a_failed_gate_passes_its_advice_on(tmp_path: Path) -> None:
    failed = changed_gates("qa_verify", verdict="failed", score=0.5, advice=("add more data",))
    with pytest.raises(GateRefusedError, match="try: add more data"):
        write(tmp_path / "a.tgsp", gates=failed)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metadata": metadata(name="../escape")}, "package name"),
        ({"metadata": metadata(name="a\nb")}, "package name"),
        ({"metadata": changed_metadata("lora", rank=0)}, "rank"),
        ({"metadata": changed_metadata("lora", alpha=float("nan"))}, "not a number"),
        ({"metadata": changed_metadata("lora", bias="some")}, "bias"),
        ({"metadata": changed_metadata("provenance", labels={"a": "x" * (17 << 20)})}, "fit"),
        ({"metadata": metadata(domain="\ud800")}, "surrogate"),
        ({"payload": b"not safetensors at all"}, "safetensors"),
        ({"payload": adapter() + b"\0"}, "belong to none"),
    ],
)
def test_what_breaks_the_format_leaves_no_file(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(VerificationError, match=reason):
        write(tmp_path / "a.tgsp", **changes)
    assert os.listdir(tmp_path) == []


def test_unreadable_payloads_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        write(tmp_path / "a.tgsp", payload=tmp_path / "nowhere")
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="empty"):
        write(tmp_path / "a.tgsp", payload=tmp_path / "empty")
    with pytest.raises(DataError, match="front matter"):
        write(tmp_path / "a.tgsp", metadata=metadata(skill_doc="# no front matter"))
    with pytest.raises(DataError, match="can't write"):
        write(tmp_path / "no" / "folder" / "a.tgsp")


def test_an_interrupted_write_keeps_the_old_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write(tmp_path / "a.tgsp")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(DataError, match="No space"):
            write(tmp_path / "a.tgsp", metadata=metadata(domain="other"))
    assert os.listdir(tmp_path) == ["a.tgsp"]
    assert package_digest(tmp_path / "a.tgsp") == old.package
    new = write(tmp_path / "a.tgsp", metadata=metadata(domain="other"))
    assert package_digest(tmp_path / "a.tgsp") == new.package != old.package


def test_a_signer_that_signs_something_else_is_noticed(tmp_path: Path) -> None:
    class Forgetful:
        public = SIGNER.public

        def sign_ed25519(self, message: bytes) -> bytes:
            return SIGNER.sign_ed25519(message)

        def sign_ml_dsa_65(self, message: bytes) -> bytes:
            return SIGNER.sign_ml_dsa_65(message + b"!")

    with pytest.raises(VerificationError, match="does not verify"):
        write(tmp_path / "a.tgsp", signer=Forgetful())
    assert os.listdir(tmp_path) == []


def test_gate_reports_are_bound_by_digest(tmp_path: Path) -> None:
    manifest, _ = parts(write(tmp_path / "a.tgsp").path.read_bytes())
    record = manifest["screening"]
    assert record["report_digest"] == digest("screening")
    assert manifest["rvu_safety"]["screening_hash"] == sha256_hex(canonical_json(record))
    assert manifest["evaluation"]["report_digest"] == digest("evaluation")
    assert manifest["gates"]["qa_verify"]["report_digest"] == digest("evaluation")
