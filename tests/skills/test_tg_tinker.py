"""`TGTinker` step by step, and a trained adapter brought in again by `tensafe import`."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from lora_samples import write_places
from safetensors.numpy import load

from tensafe.cli import main
from tensafe.curate import read_dataset
from tensafe.errors import DataError, GateRefusedError, UsageError
from tensafe.gate.lifetime import PrivacyRegister, record_prints
from tensafe.pipeline import TrainConfig
from tensafe.skills.tg_tinker import Checkpoint, LoraConfig, TGTinker
from tensafe.tgsp import Identity, KeyPair, load_trust, trust_path, verify_package
from tensafe.tgsp.reader import open_package

PASSPHRASE = "a passphrase for tests"


class House:
    """One home with an adapter that was trained through the first five steps."""

    def __init__(self, folder: Path, tinker: TGTinker) -> None:
        self.folder, self.tinker = folder, tinker
        data = write_places(folder / "places.csv")
        self.analysis = tinker.analyze_data(data)
        self.dataset = tinker.curate_dataset(data)
        lora = LoraConfig(rank=8, alpha=16)
        self.checkpoint: Checkpoint = tinker.train_sft(
            self.dataset, lora, name="places", dp=False, epochs=4, batch_size=16
        )
        # All seven days: most of its questions are new.
        self.eval_data = write_places(folder / "eval.csv", days=7, seed=6)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("tg_tinker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSAFE_HOME", str(folder / "home"))
        patch.setenv("TINKER_ENGINE_HOME", str(folder / "engine"))
        patch.setenv("TENSAFE_KEY_PASSPHRASE", PASSPHRASE)
        for name in ("TINKER_BASE_URL", "TINKER_API_KEY"):
            patch.delenv(name, raising=False)
        with TGTinker(folder / "runs") as tinker:
            yield House(folder, tinker)


def tensafe(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_the_promised_methods_take_the_promised_arguments() -> None:
    promised = {
        "create_adapter": ["data_path"],
        "analyze_data": ["data_path"],
        "classify_domain": ["analysis"],
        "curate_dataset": ["data_path"],
        "train_sft": ["dataset", "lora_config"],
        "evaluate": ["checkpoint", "test_split"],
        "screen_rvu": ["checkpoint"],
        "package_tgsp": ["checkpoint", "metadata", "signing_key"],
        "export": ["tgsp_path", "format"],
        "improve_adapter": ["current_adapter", "interaction_log", "feedback"],
        "continuous_improve": ["adapter_path", "traffic_sample", "loop_config"],
        "validate": ["tgsp_path"],
        "publish": ["tgsp_path"],
    }
    for name, arguments in promised.items():
        named = list(inspect.signature(getattr(TGTinker, name)).parameters)[1:]
        assert named[: len(arguments)] == arguments, name


def test_lora_config_has_the_six_fields_with_their_defaults_each_an_option() -> None:
    config = LoraConfig()
    assert vars(config) == {
        "rank": 30, "alpha": 64, "dropout": 0.0,
        "target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                           "down_proj"),
        "bias": "none", "task_type": "CAUSAL_LM",
    }  # fmt: skip
    fields = TrainConfig.model_fields
    for name, value in config.settings().items():
        assert fields[name].default == value, name
        assert name in inspect.signature(_train_command()).parameters
    assert get_args(fields["bias"].annotation) == ("none",)


def _train_command() -> Any:
    from tensafe.cli.train import train

    return train


@pytest.mark.parametrize(
    "changes",
    [{"bias": "all"}, {"dropout": 0.1}, {"task_type": "SEQ_CLS"}, {"target_modules": "q_proj"},
     {"target_modules": []}],
)  # fmt: skip
def test_a_lora_setting_that_is_not_applied_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        TGTinker().create_adapter("tickets.csv", LoraConfig(**changes))


def test_wrong_settings_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="epsilon"):
        TGTinker().create_adapter("tickets.csv", epsilon=-1)
    with pytest.raises(UsageError, match="epsylon"):
        TGTinker().create_adapter("tickets.csv", epsylon=4)


def test_steps_one_to_five(house: House) -> None:
    assert house.analysis.examples == {"qa": 192}
    assert house.tinker.classify_domain(house.analysis).domain == house.analysis.domain.domain
    share = len(house.dataset.test) / (len(house.dataset.train) + len(house.dataset.test))
    assert share == pytest.approx(0.2, abs=0.05)
    report = house.tinker.evaluate(house.checkpoint, house.dataset.test)
    assert report.score > report.base_score
    # Another split is measured, and never takes the place of the run's own.
    few = house.tinker.evaluate(house.checkpoint, house.dataset.test[:5])
    assert few.coverage.test_items == 5
    kept = json.loads((house.checkpoint.folder / "evaluation.json").read_text(encoding="utf-8"))
    assert kept["test_digest"] == house.dataset.test_digest


def test_metadata_that_nobody_knows_is_refused_before_anything_is_done(house: House) -> None:
    with pytest.raises(UsageError, match="'licence' is none of"):
        house.tinker.package_tgsp(house.checkpoint, {"licence": "MIT"})


def test_another_base_than_the_trained_one_is_refused(house: House) -> None:
    other = replace(house.checkpoint, base=replace(house.checkpoint.base, digest="0" * 64))
    with pytest.raises(DataError, match="was trained on nano with digest 0000"):
        house.tinker.screen_rvu(other)


@pytest.mark.slow  # a second screening, and the package that the pipeline's test makes as well
def test_steps_six_to_eight(house: House) -> None:
    signer = KeyPair.generate(Identity("Step by step", "steps@example.org"))
    told = {"license": "MIT", "compliance": ("HIPAA",), "domain": "logistics"}
    package = house.tinker.package_tgsp(house.checkpoint, told, signer)
    with open_package(package) as opened:
        view = opened.manifest().view
    assert (view.domain, view.skill.compliance) == ("logistics", ("HIPAA",))
    assert "nobody else has examined it" in (view.skill_doc or "")
    card = house.tinker.validate(package)
    assert card.is_ready
    assert {item.name for item in card.warnings} == {"creator", "privacy", "compliance"}
    report = house.tinker.export(package, "pytorch", out=house.folder / "exported")
    assert (report.folder / "adapter_model.bin").is_file()


@pytest.mark.slow  # trains again
def test_a_checkpoint_that_learned_nothing_leaves_no_package(house: House) -> None:
    poor = house.tinker.train_sft(
        house.dataset, LoraConfig(rank=2, alpha=2), name="poor", dp=False, epochs=0.2
    )
    with pytest.raises(GateRefusedError, match="qa_verify failed"):
        house.tinker.package_tgsp(poor)
    assert not list(poor.folder.glob("*.tgsp"))


def test_import_exports_and_is_the_same_adapter(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    # The tensors under another program's names, with their settings beside them.
    source = house.checkpoint.adapter_dir
    out = house.folder / "brought"
    code = tensafe(
        "import", source, "--sign", "--name", "Brought In", "--eval-data", house.eval_data,
        "--out", out, "--max-test-items", 40, "--license", "Apache-2.0", "--compliance", "PCI DSS",
        "--creator", "Ada <ada@example.org>", "--json",
    )  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert code == 0, (out / "gates.json").read_text(encoding="utf-8")
    assert result["gates"] == {
        "qa_verify": "passed", "rvu_v2_pass": "passed", "dp_budget": "waived",
    }  # fmt: skip
    package = Path(result["package"])
    manifest = verify_package(package, load_trust(trust_path())).require(trusted=True)
    assert manifest.view.provenance is not None
    assert manifest.view.provenance["train_data"] == ""
    assert "learned from" not in (manifest.view.skill_doc or "")
    assert 'license: "Apache-2.0"' in (manifest.view.skill_doc or "")
    with open_package(package) as opened:
        packed = load(bytes(opened.payload))
    for name, values in load((source / "adapter_model.safetensors").read_bytes()).items():
        assert (packed[name] == values).all()
    assert tensafe("gate", package) == 0
    capsys.readouterr()
    assert tensafe("validate", package, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    noted = {item["name"]: item["reason"] for item in card["items"] if item["status"] == "warning"}
    assert "claimed and signed by the creator" in noted["compliance"]
    assert "not known" in noted["lineage"]


@pytest.mark.slow  # imports again
def test_records_that_an_import_learned_from_have_nothing_left(house: House) -> None:
    few = house.folder / "few.csv"
    few.write_text("question,answer\nWho keeps the keys?,Me\nWhere?,Here\n", encoding="utf-8")
    code = tensafe(
        "import", house.checkpoint.adapter_dir, "--sign", "--name", "told", "--eval-data",
        house.eval_data, "--train-data", few, "--out", house.folder / "told",
        "--max-test-items", 40, "--creator", "Ada <ada@example.org>",
    )  # fmt: skip
    assert code == 0
    learned = read_dataset(house.folder / "told" / "dataset").train
    assert len(learned) == 2
    spent = PrivacyRegister(house.folder / "home").spent_by(record_prints(learned[:1]))
    assert spent.epsilon == math.inf


def test_an_import_without_what_only_its_owner_knows_is_refused_first(
    house: House, tmp_path: Path
) -> None:
    source = house.checkpoint.adapter_dir
    few = tmp_path / "few.csv"
    few.write_text("question,answer\nWho?,Me\nWhere?,Here\n", encoding="utf-8")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine", encoding="utf-8")
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "import.json").write_text("{}", encoding="utf-8")
    (earlier / "x.tgsp").write_bytes(b"an earlier package")
    seen = ["--eval-data", house.eval_data, "--train-data", house.eval_data]
    named = ["--sign", "--name", "x"]
    refusals = [
        (["--name", "x", "--eval-data", few], "add --sign"),
        (named, "--eval-data is missing"),
        ([*named, "--eval-data", few, "--out", tmp_path / "a"], "at least 20"),
        ([*named, *seen, "--out", tmp_path / "b"], "too close to .* at least 20"),
        ([*named, "--eval-data", few, "--out", taken], "is not empty"),
        ([*named, "--eval-data", few, "--out", earlier], "exists already"),
        ([*named, "--eval-data", few, "--alpha", "-1"], "--alpha"),
    ]
    for arguments, words in refusals:
        with pytest.raises((UsageError, DataError), match=words):
            _import(source, *arguments)
    assert (taken / "mine.txt").is_file()


def _import(*arguments: object) -> None:
    from tensafe.cli import application

    application()(args=["import", *map(str, arguments)], standalone_mode=False)
