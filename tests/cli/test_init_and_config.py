"""`tensafe init` and files of settings: complete, checked, and weaker than options."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tensafe.cli import main
from tensafe.cli import train as train_command
from tensafe.errors import DataError, UsageError
from tensafe.pipeline.config import TrainConfig
from tensafe.pipeline.config_file import read_config_file, train_config
from tensafe.project import create_project
from tensafe.tgsp import read_custom_skill_doc
from tensafe.tgsp.skill_doc import TO_FILL_IN, require_skill_doc


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--domain", "customer support", "--name", "Support Routing") == 0
    return tmp_path / "support-routing"


def test_a_project_states_every_default(project: Path) -> None:
    text = (project / "tensafe.yaml").read_text(encoding="utf-8")
    stated = yaml.safe_load(text)
    assert list(stated) == list(TrainConfig.model_fields)
    for line in text.splitlines():
        assert not line or line.startswith("#") or "  # " in line, line
    read = train_config(project / "tensafe.yaml", {})
    assert read == TrainConfig(
        data=project / "data",
        out=project / "runs" / "support-routing",
        name="Support Routing",
        domain="customer support",
    )


def test_a_projects_skill_document_has_valid_front_matter(project: Path) -> None:
    text = (project / "SKILL.md").read_text(encoding="utf-8")
    require_skill_doc(text)
    assert text.startswith("---\nname: support-routing\n")
    with pytest.raises(DataError, match="line 10: still to fill in"):
        read_custom_skill_doc(project / "SKILL.md")
    done = "\n".join(line for line in text.split("\n") if TO_FILL_IN not in line)
    (project / "SKILL.md").write_text(done, encoding="utf-8")
    assert read_custom_skill_doc(project / "SKILL.md") == done


@pytest.mark.peer
def test_the_reference_validator_accepts_a_new_project(project: Path) -> None:
    tool = shutil.which("agentskills", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("skills-ref is not installed")
    done = subprocess.run([tool, "validate", str(project)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_data_folder_holds_nothing_to_learn(project: Path) -> None:
    assert [path.name for path in (project / "data").iterdir()] == [".gitkeep"]


def test_a_folder_with_something_in_it_is_left_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "tensafe.yaml").read_bytes()
    assert run("init", "--domain", "x", "--name", "Support Routing") == 2
    assert "--out" in capsys.readouterr().err
    assert (project / "tensafe.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("domain", "name", "named"),
    [
        ("", "a", "--domain"),
        ("a", "\x1b[2J", "--name"),
        ("a", "!!!", "--name"),
        ("a\nb", "a", "--domain"),
    ],
)
def test_names_that_cannot_be_used_are_refused(
    tmp_path: Path, domain: str, name: str, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        create_project(domain=domain, name=name, folder=tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_words_that_mean_something_in_yaml_stay_words(tmp_path: Path) -> None:
    project = create_project(domain='no: "#1" --- yes', name="On: off", folder=tmp_path / "p")
    settings = train_config(project.config, {})
    assert (settings.domain, settings.name) == ('no: "#1" --- yes', "On: off")
    require_skill_doc(project.skill.read_text(encoding="utf-8"))


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = settings(tmp_path, "data: tickets.csv\nrank: 8\nepsilon: 2\nlearning_rate: 1e-3\n")
    read = train_config(file, {"rank": 16})
    assert (read.rank, read.epsilon, read.learning_rate, read.alpha) == (16, 2.0, 1e-3, 64.0)
    assert read.data == tmp_path / "tickets.csv"


def test_the_command_tells_a_written_option_from_a_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The file's rank would be refused; --rank 30, though it is the default, replaces it.
    file = settings(tmp_path, "data: nowhere.csv\nrank: 0\n")
    assert run("train", "--config", str(file)) == 2
    assert f"{file}, line 2: rank" in capsys.readouterr().err
    assert run("train", "--config", str(file), "--rank", "30", "--epsilon", "-1") == 2
    assert "--epsilon" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: a\nepsilom: 4\n", r"line 2: unknown key 'epsilom'; did you mean epsilon\?"),
        ("data: a\nlearning-rate: 1\n", r"line 2: .*did you mean learning_rate\?"),
        ("data: a\n\nzzzzzz: 4\n", "line 3: unknown key 'zzzzzz'; known keys: data, out"),
        ("data: a\nrank: 8\nrank: 9\n", "line 3: rank stands on line 2 already"),
        ("data: a\nrank: [1\n", "line 3: not YAML"),
        ("- data\n", "expected lines of the form"),
        ("data: a\nrank: eight\n", "line 2: rank"),
        ("data: a\nepsilon: .nan\n", "line 2: epsilon"),
        ("data: a\nepsilon: !!python/object:os.system x\n", "line 2: epsilon"),
        ("rank: 8\n", "--data PATH"),
        ("", "--data PATH"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train_config(settings(tmp_path, text), {})


def test_a_file_that_cannot_be_read_is_answered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tensafe init"):
        read_config_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(DataError, match="byte 9"):
        read_config_file(tmp_path / "latin.yaml")


def test_help_shows_the_defaults_that_hold() -> None:
    parameters = inspect.signature(train_command.train).parameters
    for name, field in TrainConfig.model_fields.items():
        option = {"question_columns": "question_column"}.get(name, name)
        if option in parameters and not field.is_required() and option != "target_modules":
            assert (parameters[option].default or None) == (field.default or None), name


def test_a_run_is_named_after_its_data_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "archive" / "2026-05"
    kept.mkdir(parents=True)
    (tmp_path / "Support Tickets").symlink_to(kept)
    monkeypatch.chdir(tmp_path)
    for data, name in (
        ("Support Tickets", "support-tickets"),
        ("archive/../Support Tickets", "support-tickets"),
        ("archive/2026-05/data", "2026-05"),
    ):
        assert TrainConfig(data=Path(data)).adapter_name == name
    monkeypatch.chdir(kept)
    assert TrainConfig(data=Path()).adapter_name == "2026-05"
