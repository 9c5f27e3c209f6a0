"""The Helm chart offline: linted, rendered, and every document held against the API's schemas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "tensafe"
KUBERNETES = ("1.28", "1.37")
FINGERPRINT = "5f0c" * 16
# Every other kind is taken for one that has pods, and has to pass as such.
WITHOUT_PODS = frozenset({"Service", "ServiceAccount", "NetworkPolicy"})
MODES: Mapping[str, dict[str, Any]] = {
    "meta_agent": {"agents": {"swapApproval": "meta_agent"}},
    "human_in_loop": {
        "agents": {"swapApproval": "human_in_loop", "approvers": [FINGERPRINT]},
        "engine": {"databaseSecret": "postgres", "trustConfigMap": "creators"},
        "marketplace": {"databaseSecret": "postgres", "publicUrl": "https://market.example"},
        "networkPolicy": {"allowTo": [{"ports": [{"port": 5432}]}]},
    },
}
# Values that the chart's schema has to refuse, each with what is wrong about it.
REFUSED: Mapping[str, dict[str, Any]] = {
    "an unknown way to approve": {"agents": {"swapApproval": "nobody"}},
    "humans who approve, but none named": {"agents": {"swapApproval": "human_in_loop"}},
    "an approver who is no fingerprint": {
        "agents": {"swapApproval": "human_in_loop", "approvers": ["alice"]}
    },
    "a misspelt setting": {"engine": {"basemodel": "nano"}},
    "a pod without a memory limit": {"engine": {"resources": {"limits": {"memory": None}}}},
    "a digest that is none": {"engine": {"image": {"digest": "sha256:12"}}},
}


def lint_problems(values: Mapping[str, Any]) -> list[str]:
    """Warnings and errors of `helm lint --strict`."""
    from helm_python.chart import lint

    report = lint(CHART, dict(values), strict=True)
    told = [str(m["error"]) for m in report["messages"] if m["severity"] >= 2]
    return [*told, *map(str, report["errors"])]


def documents(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Kubernetes objects that the chart gives for some values."""
    import yaml
    from helm_python.chart import Chart

    with Chart.load(CHART) as chart:
        rendered = chart.render(dict(values), name="demo", namespace="adapters")
    found: list[dict[str, Any]] = []
    for path, text in rendered.items():
        if path.endswith(".yaml"):
            found += [cast("dict[str, Any]", d) for d in yaml.safe_load_all(text) if d]
    return found


def invalid(objects: list[dict[str, Any]]) -> list[str]:
    """What the API's schemas have against them, at the oldest and the newest version."""
    import kubernetes_validate

    problems: list[str] = []
    for version in KUBERNETES:
        for document in objects:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                problems.append(f"{version} {document['kind']}: {error}")
    return problems


def insecure(objects: list[dict[str, Any]]) -> list[str]:
    """Pods that may be root or gain rights, lack limits or probes, or hold the text of a secret."""
    problems: list[str] = []
    for document in objects:
        if document["kind"] in WITHOUT_PODS:
            continue
        pod = document["spec"]["template"]["spec"]
        name = document["metadata"]["name"]
        if not pod["securityContext"].get("runAsNonRoot") or pod["automountServiceAccountToken"]:
            problems.append(f"{name}: the pod may be root, or holds a token of the cluster")
        if pod.get("initContainers"):
            problems.append(f"{name}: containers that nothing here looks at")
        for container in pod["containers"]:
            rights = container["securityContext"]
            if rights["allowPrivilegeEscalation"] or not rights["readOnlyRootFilesystem"]:
                problems.append(f"{name}: rights of the container")
            if rights["capabilities"] != {"drop": ["ALL"]}:
                problems.append(f"{name}: capabilities")
            if "memory" not in container["resources"].get("limits", {}):
                problems.append(f"{name}: no memory limit")
            probes = {"startupProbe", "livenessProbe", "readinessProbe"}
            problems += [f"{name}: no {probe}" for probe in probes - set(container)]
            secrets = [e for e in container["env"] if e["name"].endswith(("_KEY", "DATABASE_URL"))]
            problems += [f"{name}: {e['name']} is no reference" for e in secrets if "value" in e]
    if not any(document["kind"] == "NetworkPolicy" for document in objects):
        problems.append("no network policy")
    return problems
