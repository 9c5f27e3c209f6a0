"""A package comes into an agent's set through the load gate, and stays the one that was judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aragora.agents.adapters import AdapterSet, PackageAdmission
from aragora.agents.tinker_agent import TinkerAgent
from aragora.errors import AdapterRefusedError
from evidence._gate_packages import good_package, resigned
from tensafe.files import write_private
from tensafe.screen.tasks import task_dataset
from tensafe.tgsp import ensure_signing_key, passphrase_source, trust_path
from tensafe.tgsp.trust import revoke
from tinker_engine.connect import (
    base_info,
    connect,
    connection_of,
    download_adapter,
    load_tokenizer,
)
from tinker_engine.recipes.chat_format import ChatFormat
from tinker_engine.recipes.sft import run_sft
from tinker_engine.recipes.sft_config import SftConfig

STEPS = 20


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT folder trained on the engine of this process."""
    folder = tmp_path_factory.mktemp("trained")
    engine = connection_of(connect("embedded"))
    dataset, base = task_dataset("sorting", 11), base_info(engine)
    config = SftConfig(
        rank=8, alpha=16, batch_size=16, epochs=STEPS * 16 / len(dataset.train),
        learning_rate=2e-3, validation_fraction=0.0, privacy=None,
    )  # fmt: skip
    result = run_sft(
        engine.service_client,
        ChatFormat(load_tokenizer(engine)),
        [example.messages for example in dataset.train],
        config,
        folder / "training",
        base_model=base.name,
        hidden_size=base.hidden_size,
    )
    return download_adapter(engine, result.checkpoint, folder / "adapter")


def test_what_the_gate_lets_in_can_be_used_until_its_file_changes(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", "correct horse battery")
    signer = ensure_signing_key("Ada", passphrase=passphrase_source())
    agent = TinkerAgent(name="ann", admission=PackageAdmission())
    running = agent.open().running()
    assert running is not None
    package = good_package(tmp_path / "good.tgsp", adapter, running, signer)
    verdict = agent.admit("sorting", package)
    agent.set_adapter("sorting")
    assert agent.identity().adapter == "sorting"
    assert len(list((tmp_path / "home" / "gate").glob("*.json"))) == 1

    def another_alpha(raw: dict[str, dict[str, object]]) -> None:
        raw["lora_config"]["alpha"] = 48

    # The same weights with another alpha answer differently, so another package is refused.
    good = package.read_bytes()
    package.write_bytes(resigned(good, signer, another_alpha))
    again = TinkerAgent(name="ann")
    with pytest.raises(AdapterRefusedError, match="no longer what was admitted"):
        again.set_adapter("sorting")
    package.write_bytes(good)
    again.set_adapter("sorting")
    assert again.identity().adapter_digest == verdict.payload_digest
    # What the gate would refuse by now is refused: whether it was loaded already or not.
    again.set_adapter(None)
    trusted = trust_path().read_bytes()
    revoke(trust_path(), signer.public.fingerprint, reason="stolen")
    for one in (again, TinkerAgent(name="ann")):
        with pytest.raises(AdapterRefusedError, match=r"revoked .*stolen"):
            one.set_adapter("sorting")
        assert one.identity().adapter is None
    trust_path().unlink()
    for one in (again, TinkerAgent(name="ann")):
        with pytest.raises(AdapterRefusedError, match="not in your trust store"):
            one.set_adapter("sorting")
    write_private(trust_path(), trusted)
    again.set_adapter("sorting")
    members = AdapterSet.of("ann")
    members.add(replace(members.get("sorting"), base="b" * 64))
    with pytest.raises(AdapterRefusedError, match="was let in for base bbbbbbbbbbbbbbbb"):
        TinkerAgent(name="ann").set_adapter("sorting")


def test_the_load_gate_refuses_what_a_bare_verification_would_take(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSAFE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TENSAFE_KEY_PASSPHRASE", "correct horse battery")
    signer = ensure_signing_key("Ada", passphrase=passphrase_source())
    agent = TinkerAgent(name="bob", admission=PackageAdmission())
    running = agent.open().running()
    assert running is not None
    good = good_package(tmp_path / "good.tgsp", adapter, running, signer).read_bytes()

    def thousandfold(tensors: dict[str, object]) -> dict[str, object]:
        return {name: value * 1000 for name, value in tensors.items()}  # type: ignore[operator]

    grown = tmp_path / "grown.tgsp"
    grown.write_bytes(resigned(good, signer, tensors=thousandfold))
    with pytest.raises(AdapterRefusedError, match="rvu_v2"):
        agent.admit("grown", grown)
    assert agent.identity().adapter is None
