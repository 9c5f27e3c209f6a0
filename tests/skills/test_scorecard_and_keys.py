"""`tensafe validate`, `doctor` and the keys that age: what they say of good and of bad."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tgsp"))

from sample_package import adapter, gates, key_pair, metadata, trusting

from evidence._gate_packages import resigned
from tensafe.cli import main
from tensafe.errors import KeyStoreError
from tensafe.tgsp import KeyStore, load_trust, trust_path, write_package
from tensafe.tgsp.trust import NOBODY
from tensafe.validation import Scorecard, validate_package

PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", PASSPHRASE)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("card") / "sample.tgsp"
    write_package(path, payload=adapter(), metadata=metadata(), gates=gates(), signer=key_pair())
    return path.read_bytes()


def card(path: Path, data: bytes) -> Scorecard:
    path.write_bytes(data)
    return validate_package(path, trusting(key_pair().public), None)


def status(found: Scorecard, name: str) -> tuple[str, str]:
    item = next(item for item in found.items if item.name == name)
    return item.status, item.reason


def tensafe(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_a_package_is_judged_line_by_line(package: bytes, tmp_path: Path) -> None:
    found = card(tmp_path / "p.tgsp", package)
    assert status(found, "integrity")[0] == "passed"
    assert status(found, "quality")[1].startswith("score 0.910 (0.838 to 0.952) on 100")
    assert status(found, "privacy") == ("passed", "epsilon 7.900 at delta 1.00e-05 (dp-sgd)")
    # No base was given, and none is invented.
    assert status(found, "fit")[0] == "not_run"
    assert status(found, "licence")[0] == "warning"
    stranger = validate_package(tmp_path / "p.tgsp", NOBODY, None)
    assert status(stranger, "creator")[0] == "warning"


def of(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    def apply(raw: dict[str, Any]) -> None:
        change(raw)

    return apply


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("gates", lambda m: m["gates"].pop("qa_verify"), "no record of qa_verify"),
        ("gates", lambda m: m["gates"]["rvu_v2_pass"].update(verdict="waived"), "waived"),
        ("quality", lambda m: m["evaluation"].update(score=0.5, interval=[0.4, 0.6]), "below 0.8"),
        ("quality", lambda m: m["evaluation"].update(interval=[0.92, 0.95]), "interval"),
        ("quality", lambda m: m["gates"]["qa_verify"].update(score=0.99), "judged 0.99"),
        ("quality", lambda m: m.pop("evaluation"), "no evaluation"),
        ("privacy", lambda m: m.pop("privacy"), "nothing is said"),
        ("privacy", lambda m: m.update(privacy={"mechanism": "none"}), "no privacy, yet"),
        ("privacy", lambda m: m["gates"]["dp_budget"].update(score=1.0), "judged 1 of 8"),
        ("skill_doc", lambda m: m.pop("skill_doc"), "there is none"),
        ("skill_doc", lambda m: m.update(skill_doc="no front matter"), "front matter"),
        ("lineage", lambda m: m["provenance"].pop("tokenizer"), "no digest of tokenizer"),
        ("lineage", lambda m: m["provenance"].update(parent="mine"), "no digest"),
        ("screening", lambda m: m["screening"].update(passed=False), "screening_hash"),
    ],
)
def test_every_line_can_fail(
    package: bytes, tmp_path: Path, name: str, change: Any, words: str
) -> None:
    found = card(tmp_path / "p.tgsp", resigned(package, key_pair(), of(change)))
    assert status(found, "integrity")[0] == "passed"
    assert status(found, name)[0] == "failed"
    assert words in status(found, name)[1]
    assert not found.is_ready


def test_claims_are_shown_as_claims_and_a_licence_is_read_from_both_places(
    package: bytes, tmp_path: Path
) -> None:
    def claim(raw: dict[str, Any]) -> None:
        raw["skill"]["compliance"] = ["HIPAA\x1b[31m"]
        raw["skill_doc"] = raw["skill_doc"].replace("---\n", '---\nlicense: "MIT"\n', 1)

    found = card(tmp_path / "p.tgsp", resigned(package, key_pair(), claim))
    kind, reason = status(found, "compliance")
    assert kind == "warning"
    assert "examined by nobody: HIPAA" in reason
    assert "\x1b" not in reason
    assert status(found, "licence") == ("passed", "MIT, as its creator states")


def test_validate_exits_by_what_it_found(package: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.tgsp"
    changed = bytearray(package)
    changed[-1] ^= 1
    path.write_bytes(changed)
    assert tensafe("validate", path) == 4
    path.write_bytes(b"no package at all")
    assert tensafe("validate", path) == 4


@pytest.mark.parametrize("cached", ["nothing", "configuration"])
def test_a_hub_id_in_a_package_reaches_for_no_network(
    package: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cached: str,
) -> None:
    """A cache with the configuration alone, as looking at a model leaves it, is no model."""
    asked: list[object] = []

    def connect(*place: object, **_: object) -> None:
        asked.append(place)
        raise OSError("no network in this test")

    monkeypatch.setattr("socket.getaddrinfo", connect)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    if cached == "configuration":
        model, commit = tmp_path / "hub" / "models--somebody--somewhere", "c" * 40
        for file, text in (
            ("refs/main", commit),
            (f"snapshots/{commit}/config.json", '{"model_type": "llama"}'),
        ):
            (model / file).parent.mkdir(parents=True)
            (model / file).write_text(text, encoding="utf-8")

    def foreign(raw: dict[str, Any]) -> None:
        raw["model"]["base_model"] = "somebody/somewhere"

    path = tmp_path / "p.tgsp"
    path.write_bytes(resigned(package, key_pair(), foreign))
    tensafe("validate", path, "--json")
    items = json.loads(capsys.readouterr().out)["items"]
    fit = next(item for item in items if item["name"] == "fit")
    assert fit["status"] == "not_run"
    assert "'somebody/somewhere' is not on this machine" in fit["reason"]
    assert asked == []


def test_doctor_names_what_is_broken_and_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tensafe("doctor", "--no-engine", "--json") == 0
    assert json.loads(capsys.readouterr().out)["well"] is True
    trust_path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    trust_path().write_text("{", encoding="utf-8")
    trust_path().chmod(0o600)
    assert tensafe("doctor", "--no-engine", "--json") == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    broken = [one for one in found if one["status"] == "broken"]
    assert broken
    assert "restore it, or move it away" in broken[-1]["fact"]


def test_a_rotated_key_signs_no_more_and_what_it_signed_stays_trusted(
    home: Path, package: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = KeyStore()
    first = store.create(key_pair().identity, PASSPHRASE)
    old, second = store.rotate(first.identity.name, "another long passphrase")
    assert old.fingerprint == first.public.fingerprint != second.public.fingerprint
    with pytest.raises(KeyStoreError, match="wrong passphrase"):
        store.unlock(first.identity.name, PASSPHRASE)
    unlocked = store.unlock(first.identity.name, "another long passphrase")
    assert unlocked.public.fingerprint == second.public.fingerprint
    path = tmp_path / "old.tgsp"
    write_package(path, payload=adapter(), metadata=metadata(), gates=gates(), signer=first)
    found = validate_package(path, load_trust(trust_path()), None)
    assert status(found, "creator")[0] == "passed"
    fingerprint = second.public.fingerprint
    assert tensafe("keys", "rotate", first.identity.name, "--revoke-old") == 0
    states = {
        entry.public.fingerprint: entry.revoked is not None for entry in load_trust(trust_path())
    }
    assert states[fingerprint] is True
    assert states[old.fingerprint] is False
    assert len(states) == 3


def test_of_two_rotations_at_once_each_retires_the_key_before_it(home: Path) -> None:
    store = KeyStore()
    name = store.create(key_pair().identity, PASSPHRASE).identity.name
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: store.rotate(name, PASSPHRASE), range(2)))
    # No new key is lost: one was retired by the other, which is the one that signs now.
    assert len(list((home / "keys" / "retired").glob("*.json"))) == 2
    assert store.public(name) in [pair.public for _, pair in made]


def test_a_key_expires_on_its_day_and_no_date_undoes_a_revocation(home: Path) -> None:
    pair = KeyStore().create(key_pair().identity, PASSPHRASE)
    who = pair.public.fingerprint[:16]
    assert tensafe("keys", "expire", who, "--on", "2020-01-01") == 0
    with pytest.raises(KeyStoreError, match="is expired"):
        KeyStore().unlock(pair.identity.name, PASSPHRASE)
    assert tensafe("keys", "expire", who, "--never") == 0
    assert KeyStore().unlock(pair.identity.name, PASSPHRASE)
    assert tensafe("keys", "expire", who, "--on", "soon") == 1
    assert tensafe("keys", "revoke", who) == 0
    assert tensafe("keys", "expire", who, "--never") == 1
