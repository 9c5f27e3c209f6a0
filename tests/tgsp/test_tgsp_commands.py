"""`tensafe keys`, `verify` and `inspect`, through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rewriting import edited, foreign
from sample_package import key_pair

from tensafe.cli import main
from tensafe.tgsp import KeyStore, write_package
from tensafe.tgsp.keys import public_key_document


class Run:
    """Runs `tensafe` in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        self._capsys.readouterr()
        try:
            main([str(a) for a in arguments])
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        captured = self._capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        return code


@pytest.fixture
def tensafe(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


@pytest.fixture
def package(tmp_path: Path, package_bytes: bytes) -> Path:
    path = tmp_path / "sample.tgsp"
    path.write_bytes(package_bytes)
    return path


def trust_sample(tensafe: Run, tmp_path: Path) -> None:
    file = tmp_path / "ada.json"
    file.write_bytes(public_key_document(key_pair()))
    assert tensafe("keys", "trust", file, "--fingerprint", key_pair().public.fingerprint) == 0


def test_a_new_creators_own_packages_are_trusted(tensafe: Run, home: Path, tmp_path: Path) -> None:
    from sample_package import adapter, gates, metadata

    assert tensafe("keys", "new", "Grace", "--email", "g@example.org", "--json") == 0
    made = json.loads(tensafe.out)
    signer = KeyStore().unlock("Grace", "correct horse battery")
    assert made["fingerprint"] == signer.public.fingerprint
    path = tmp_path / "own.tgsp"
    write_package(path, payload=adapter(), metadata=metadata(), gates=gates(), signer=signer)
    assert tensafe("verify", path, "--require-trusted") == 0
    assert "intact and trusted" in tensafe.out


def test_untrusted_is_said_and_can_be_required(tensafe: Run, package: Path, tmp_path: Path) -> None:
    assert tensafe("verify", package) == 0
    assert "intact but untrusted" in tensafe.out
    assert "tensafe keys trust" in tensafe.out
    assert tensafe("verify", package, "--require-trusted") == 4
    trust_sample(tensafe, tmp_path)
    assert tensafe("verify", package, "--require-trusted") == 0
    assert tensafe("keys", "revoke", "Ada Example", "--reason", "test") == 0
    assert tensafe("verify", package) == 4
    assert "revoked" in tensafe.out


def test_json_names_every_check(tensafe: Run, package: Path, package_bytes: bytes) -> None:
    assert tensafe("verify", package, "--json") == 0
    result = json.loads(tensafe.out)
    assert (result["verdict"], result["exit_code"]) == ("untrusted", 0)
    assert {c["status"] for c in result["checks"]} == {"passed"}
    package.write_bytes(package_bytes[:-1] + b"\0")
    assert tensafe("verify", package, "--json") == 4
    result = json.loads(tensafe.out)
    assert [c["name"] for c in result["checks"] if c["status"] == "failed"] == ["payload_hash"]


def test_a_tampered_package_exits_4_and_names_the_check(
    tensafe: Run, package: Path, package_bytes: bytes
) -> None:
    package.write_bytes(edited(package_bytes, lambda m: m.update(name="other")))
    assert tensafe("verify", package) == 4
    assert "not intact" in tensafe.out
    assert "claims to be by Ada Example" in tensafe.out


def test_foreign_packages_exit_4_as_ed25519_only(
    tensafe: Run, package: Path, package_bytes: bytes, tmp_path: Path
) -> None:
    package.write_bytes(foreign(package_bytes, key_pair()))
    assert tensafe("verify", package) == 4
    assert "--public-key" in tensafe.out
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(key_pair().public.keys.ed25519)
    pem = tmp_path / "ada.pem"
    pem.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert tensafe("verify", package, "--public-key", pem) == 4
    assert "intact, Ed25519 only" in tensafe.out
    assert tensafe("keys", "trust", pem, "--name", "Ada") == 0
    assert "Ed25519 only" in tensafe.err
    assert tensafe("verify", package) == 4
    assert "intact, Ed25519 only" in tensafe.out


def test_hostile_names_cannot_steer_the_terminal(
    tensafe: Run, package: Path, package_bytes: bytes
) -> None:
    evil = "\x1b[2J\x1b[31m\u202egood [red]bold[/red]"

    def change(manifest: dict[str, object]) -> None:
        manifest["name"] = manifest["domain"] = manifest["skill_doc"] = evil
        creator = manifest["creator"]
        assert isinstance(creator, dict)
        creator["name"] = creator["email"] = evil

    package.write_bytes(edited(package_bytes, change))
    assert tensafe("verify", package) == 4
    assert tensafe("inspect", package) == 0
    for text in (tensafe.out, tensafe.err):
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
    assert "[red]bold[/red]" in tensafe.out
    assert tensafe("inspect", package, "--skill") == 0
    assert tensafe.out.startswith("\\x1b[2J")


def test_inspect_shows_summary_and_skill(tensafe: Run, package: Path) -> None:
    assert tensafe("inspect", package) == 0
    for words in ("support-routing", "nano", "rank 2", "0.910", "epsilon 7.900", "## Limits"):
        assert words in tensafe.out
    assert tensafe("inspect", package, "--json") == 0
    assert json.loads(tensafe.out)["format"] == "TGSP"
    assert tensafe("inspect", package, "--skill") == 0
    assert tensafe.out.startswith("---\nname: support-routing\n")
    package.write_bytes(b"TGSP")
    assert tensafe("inspect", package) == 4
    assert "too few" in tensafe.err


def test_usage_errors_exit_2_and_key_errors_1(tensafe: Run, tmp_path: Path) -> None:
    assert tensafe("verify", tmp_path / "absent.tgsp") == 2
    assert tensafe("keys", "export", "Nobody") == 1
    assert "tensafe keys new" in tensafe.err
    assert tensafe("keys", "revoke", "Nobody") == 1
    assert "keys list" in tensafe.err


def test_export_and_trust_between_two_homes(
    tensafe: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tensafe("keys", "new", "Grace", "--organization", "Navy") == 0
    file = tmp_path / "grace.json"
    assert tensafe("keys", "export", "Grace", "--out", file) == 0
    assert tensafe("keys", "export", "Grace") == 0
    assert json.loads(tensafe.out)["fingerprint"] == json.loads(file.read_bytes())["fingerprint"]
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "other"))
    assert tensafe("keys", "trust", file, "--fingerprint", "0" * 64) == 1
    assert tensafe("keys", "list") == 0
    assert "no keys yet" in tensafe.err
    assert tensafe("keys", "trust", file, "--expires", "2099-12-31") == 0
    assert tensafe("keys", "list", "--json") == 0
    (row,) = json.loads(tensafe.out)
    assert (row["name"], row["own"], row["state"], row["expires"]) == (
        "Grace",
        False,
        "trusted",
        "2099-12-31",
    )
    assert tensafe("keys", "list") == 0
    assert "trusted" in tensafe.out


def test_a_lost_trust_store_hides_no_key(tensafe: Run, home: Path) -> None:
    assert tensafe("keys", "new", "Grace") == 0
    (home / "trust.json").unlink()
    assert tensafe("keys", "list", "--json") == 0
    (row,) = json.loads(tensafe.out)
    assert (row["name"], row["own"], row["state"]) == ("Grace", True, "untrusted")


def test_the_package_room_needs_no_torch() -> None:
    code = (
        "import sys, tensafe.tgsp, tensafe.cli.verify, tensafe.cli.keys\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
