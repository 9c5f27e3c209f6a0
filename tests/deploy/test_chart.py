"""The Helm chart: lints, renders, is valid, and names commands and variables that exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from tensafe.cli import application
from tensafe.marketplace.service import MarketConfig
from tinker_engine.config import EngineConfig

pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")
pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

from evidence._chart_checks import (
    CHART,
    MODES,
    REFUSED,
    documents,
    insecure,
    invalid,
    lint_problems,
)


@pytest.mark.parametrize("mode", MODES)
def test_chart_lints_and_is_valid(mode: str) -> None:
    assert lint_problems(MODES[mode]) == []
    objects = documents(MODES[mode])
    assert {d["kind"] for d in objects} == {
        "NetworkPolicy", "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip
    assert invalid(objects) == []
    assert insecure(objects) == []


@pytest.mark.parametrize("what", REFUSED)
def test_bad_values_are_refused(what: str) -> None:
    assert lint_problems(REFUSED[what])


def test_checks_see_what_is_wrong() -> None:
    objects = documents({})
    pods = [d["spec"]["template"]["spec"] for d in objects if d["kind"] == "StatefulSet"]
    pods[0]["securityContext"]["runAsNonRoot"] = False
    pods[0]["containers"][0]["env"].append({"name": "TENSAFE_CONTROL_KEY", "value": "secret"})
    del pods[1]["containers"][0]["livenessProbe"]
    pods[1]["containers"][0]["ports"][0]["containerPort"] = "no number"
    assert len(insecure(objects)) == 3
    assert len(invalid(objects)) == 2


def container(values: dict[str, Any], part: str) -> dict[str, Any]:
    sets = [d for d in documents(values) if d["metadata"]["name"] == f"demo-{part}"]
    return next(d for d in sets if d["kind"] == "StatefulSet")["spec"]["template"]["spec"][
        "containers"
    ][0]


def test_engine_starts_a_command_that_exists() -> None:
    command = container({}, "engine")["command"]
    assert command[:2] == ["tensafe", "serve"]
    serve = typer.main.get_command(application()).commands["serve"]  # pyright: ignore
    assert serve.make_context("serve", command[2:], resilient_parsing=True)
    known = {parameter.envvar for parameter in serve.params}
    known |= {f"TINKER_ENGINE_{name.upper()}" for name in EngineConfig.model_fields}
    known |= {"TENSAFE_HOME", "TENSAFE_CONTROL_KEY", "HF_HUB_OFFLINE"}
    values = MODES["human_in_loop"]
    assert {entry["name"] for entry in container(values, "engine")["env"]} <= known


def test_marketplace_is_given_settings_that_exist() -> None:
    known = {f"TENSAFE_MARKETPLACE_{name.upper()}" for name in MarketConfig.model_fields}
    told = {entry["name"] for entry in container(MODES["human_in_loop"], "marketplace")["env"]}
    assert told - known == {"TENSAFE_HOME"}
    assert len(told) == 4


def test_no_host_and_no_secret_is_named() -> None:
    for path in CHART.rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            assert not re.search(r"https?://(?!json-schema\.org|127\.0\.0\.1|%s)", text), path
            assert not re.search(r"tml-[A-Za-z0-9]{8}", text), path
