"""Step 6 of the load gate: the screening record holds together, and the weights still pass.

Behaviour was measured by the creator and is believed as far as the signature goes; that the
figures agree with each other, with this package and with this version's limits is checked. The
three weight layers need nothing but the package, so they are run again here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tensafe.errors import VerificationError
from tensafe.gate.load_records import LoadPolicy
from tensafe.gate.load_steps import Findings
from tensafe.tgsp.canonical import canonical_json, sha256_hex
from tensafe.tgsp.manifest import ManifestView
from tensafe.tgsp.reader import Package
from tensafe.tgsp.verification import Verification

# Settings of which less is looser; every other number is a limit of which more is looser.
_LESS_IS_LOOSER = frozenset(
    {
        "generation_tokens", "in_domain_prompts", "in_domain_pairs", "probed_records",
        "recited_records", "common_examples", "min_change",
    }
)  # fmt: skip
# Not limits: what is shown, and what the policy judges by itself.
_NOT_LIMITS = frozenset({"shown_findings", "without_training_data"})


def rvu_step(package: Package | None, verified: Verification, policy: LoadPolicy) -> Findings:
    """(6) The manifest's record is the one that was hashed, says yes, and the weights agree.

    Raises:
        VerificationError: there is no manifest or payload to look at.
    """
    if package is None or verified.manifest is None:
        raise VerificationError("could not be checked: the manifest can't be read")
    view = verified.manifest.view
    faults = list(_record_faults(view, verified.payload_hash, policy))
    layers, weight_faults = _weights(package, view)
    return Findings(
        (*faults, *weight_faults),
        "record and report agree; the weight layers pass again",
        {"weight_layers": layers, "limits": _known_limits(view)},
    )


def _known_limits(view: ManifestView) -> dict[str, float]:
    """The record's limits that this version knows: a report holds nothing that a package brings."""
    from tensafe.screen.config import ScreenConfig

    stated = dict(_leaves((view.screening or {}).get("limits")))
    ours = dict(_leaves(ScreenConfig().model_dump(mode="json")))
    return {name: stated[name] for name in ours if name in stated}


def _record_faults(view: ManifestView, payload_hash: str, policy: LoadPolicy) -> Iterator[str]:
    from tensafe.screen.records import BEHAVIOUR_LAYERS, VERSION, WEIGHT_LAYERS

    stated, record = view.rvu_safety, view.screening
    if not stated.screening_passed:
        yield "the manifest says that screening failed"
    if record is None:
        yield (
            "the package carries no screening record, so its screening_hash can't be checked; "
            "pack it again with this version"
        )
        return
    if sha256_hex(canonical_json(record)) != stated.screening_hash:
        yield "screening_hash is not the hash of the record in the package"
    if record.get("version") != VERSION or record.get("passed") is not True:
        yield f"the record is of {record.get('version')!r} and says passed = {record.get('passed')}"
    if record.get("adapter_digest") != payload_hash:
        yield "the record judged other weights than this payload"
    provenance = view.provenance or {}
    if record.get("train_digest") != provenance.get("train_data"):
        yield "the record judged an adapter of other training data than the provenance names"
    layers = _layers(record)
    missing = [name for name in (*BEHAVIOUR_LAYERS, *WEIGHT_LAYERS) if name not in layers]
    if missing or sorted(layers) != sorted(stated.layers):
        yield f"layers disagree or are missing: {', '.join(missing) or 'other ones are declared'}"
    for name, layer in layers.items():
        yield from _layer_faults(name, layer)
    yield from _limit_faults(record, policy)


def _layers(record: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    listed = record.get("layers")
    if not isinstance(listed, list):
        return {}
    rows = [row for row in cast("list[object]", listed) if isinstance(row, dict)]
    return {str(row.get("name")): row for row in cast("list[dict[str, Any]]", rows)}


def _layer_faults(name: str, layer: Mapping[str, Any]) -> Iterator[str]:
    if layer.get("passed") is not True:
        yield f"{name}: did not pass"
    checks = layer.get("checks")
    if not isinstance(checks, list) or not checks:
        yield f"{name}: measured nothing"
        return
    for check in cast("list[object]", checks):
        row = cast("dict[str, object]", check) if isinstance(check, dict) else {}
        value, limit = row.get("value"), row.get("limit")
        if not (
            _is_number(value) and _is_number(limit) and cast(float, value) <= cast(float, limit)
        ):
            yield f"{name}: {row.get('name')} is {value} against {limit}, yet is said to pass"


def _limit_faults(record: Mapping[str, object], policy: LoadPolicy) -> Iterator[str]:
    """Limits that are looser than this version's own; stricter ones are welcome."""
    from tensafe.screen.config import ScreenConfig

    used = dict(_leaves(record.get("limits")))
    ours = dict(_leaves(ScreenConfig().model_dump(mode="json")))
    for name, own in ours.items():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in _NOT_LIMITS:
            continue
        value = used.get(name)
        if value is None:
            yield f"the record doesn't say which {name} it used"
        elif (value < own) if leaf in _LESS_IS_LOOSER else (value > own):
            yield f"screened with {name} {value:g}, looser than this version's {own:g}"
    if policy.needs_training_data and used.get("without_training_data", 1.0):
        yield "screened without its training data, which the policy demands"


def _leaves(settings: object, path: str = "") -> Iterator[tuple[str, float]]:
    if not isinstance(settings, dict):
        return
    for key, value in cast("dict[str, object]", settings).items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from _leaves(cast("object", value), name)
        elif _is_number(value) or isinstance(value, bool):
            yield name, float(cast(float, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weights(package: Package, view: ManifestView) -> tuple[list[dict[str, object]], list[str]]:
    from tensafe.screen.config import ScreenConfig
    from tensafe.screen.screening import screen_weights
    from tensafe.screen.subject import write_adapter_files

    with tempfile.TemporaryDirectory(prefix="tensafe-gate-") as name:
        folder = Path(name) / "adapter"
        write_adapter_files(package, view, folder)
        results, _, _ = screen_weights(folder, ScreenConfig())
    rows: list[dict[str, object]] = [
        {"name": r.name, "passed": r.passed, "score": r.score, "threshold": r.threshold}
        for r in results
    ]
    return rows, [f"{r.name} (run again here): {r.reason}" for r in results if not r.passed]
