"""Lines of the scorecard that are judged from the manifest alone.

Figures are the creator's, signed; what is checked is that they are there, agree with one another,
and meet this version's rules. Claims of compliance are shown as claims.
"""

from __future__ import annotations

import re
from typing import cast

from tensafe.errors import DataError
from tensafe.tgsp.manifest import Manifest, ManifestView
from tensafe.tgsp.skill_doc import TO_FILL_IN, require_skill_doc
from tensafe.tgsp.text import one_line
from tensafe.tgsp.writer import QA_VERIFY_THRESHOLD
from tensafe.validation.records import ScoreItem

FEW_ITEMS = 20
GATES = ("qa_verify", "rvu_v2_pass", "dp_budget")
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_LICENSE_LINE = re.compile(r"(?m)^license:[ \t]*(.+)$")


def manifest_items(manifest: Manifest) -> list[ScoreItem]:
    """All of them, in no particular order."""
    view = manifest.view
    return [
        _gates(view),
        _quality(view),
        _privacy(view),
        _skill_doc(view),
        _licence(view),
        _lineage(view),
        _compliance(view),
    ]


def _gates(view: ManifestView) -> ScoreItem:
    gates = view.gates or {}
    missing = [name for name in GATES if name not in gates]
    if missing:
        return ScoreItem(
            "gates",
            "failed",
            f"no record of {', '.join(missing)}",
            "pack it with `tensafe pack`, or bring it in with `tensafe import`",
        )
    verdicts = {name: str(gates[name].get("verdict")) for name in GATES}
    allowed = {"dp_budget": ("passed", "waived")}
    bad = [name for name in GATES if verdicts[name] not in allowed.get(name, ("passed",))]
    if bad:
        return ScoreItem("gates", "failed", f"{bad[0]} is {one_line(verdicts[bad[0]])[:40]}")
    return ScoreItem("gates", "passed", ", ".join(f"{n} {v}" for n, v in verdicts.items()))


def _quality(view: ManifestView) -> ScoreItem:
    evaluation = view.evaluation
    if evaluation is None:
        return ScoreItem(
            "quality", "failed", "no evaluation is stated", "bring it in with `tensafe import`"
        )
    low, high = evaluation.interval
    stated = f"score {evaluation.score:.3f} ({low:.3f} to {high:.3f}) on {evaluation.test_size}"
    judged = (view.gates or {}).get("qa_verify", {})
    if evaluation.score < QA_VERIFY_THRESHOLD:
        return ScoreItem("quality", "failed", f"{stated}: below {QA_VERIFY_THRESHOLD:g}")
    if not low <= evaluation.score <= high:
        return ScoreItem("quality", "failed", f"{stated}: the interval doesn't hold the score")
    if judged and judged.get("score") != evaluation.score:
        return ScoreItem("quality", "failed", f"{stated}: qa_verify judged {judged.get('score')}")
    base = evaluation.base_score
    if base is None:
        return ScoreItem("quality", "warning", f"{stated}; the base was not measured")
    if base >= evaluation.score:
        return ScoreItem("quality", "warning", f"{stated}; the base alone scores {base:.3f}")
    if evaluation.test_size < FEW_ITEMS:
        return ScoreItem("quality", "warning", f"{stated}: few items")
    return ScoreItem("quality", "passed", f"{stated}; base {base:.3f}")


def _privacy(view: ManifestView) -> ScoreItem:
    privacy, judged = view.privacy, (view.gates or {}).get("dp_budget", {})
    verdict = judged.get("verdict")
    if privacy is None:
        return ScoreItem(
            "privacy", "failed", "nothing is said of privacy, not even that there is none"
        )
    if privacy.mechanism == "none" or privacy.epsilon is None or privacy.delta is None:
        if verdict != "waived":
            return ScoreItem(
                "privacy", "failed", f"no privacy, yet dp_budget is {one_line(str(verdict))[:40]}"
            )
        return ScoreItem(
            "privacy",
            "warning",
            "no differential privacy: dp_budget was waived",
            "it may have memorised training records; see the lines of its screening",
        )
    stated = f"epsilon {privacy.epsilon:.3f} at delta {privacy.delta:.2e} ({privacy.mechanism})"
    if verdict != "passed":
        return ScoreItem(
            "privacy", "failed", f"{stated}, yet dp_budget is {one_line(str(verdict))[:40]}"
        )
    score, limit = judged.get("score"), judged.get("threshold")
    if not (isinstance(score, int | float) and isinstance(limit, int | float)):
        return ScoreItem("privacy", "failed", f"{stated}, yet dp_budget states no figures")
    if not privacy.epsilon <= score <= limit:
        return ScoreItem(
            "privacy", "failed", f"{stated}, yet dp_budget judged {score:g} of {limit:g}"
        )
    return ScoreItem("privacy", "passed", stated)


def _skill_doc(view: ManifestView) -> ScoreItem:
    text = view.skill_doc
    if not text:
        return ScoreItem(
            "skill_doc",
            "failed",
            "there is none, so no agent can tell what it is for",
            "pack it with this version, which writes one",
        )
    try:
        require_skill_doc(text)
    except DataError as error:
        return ScoreItem("skill_doc", "failed", one_line(str(error))[:400])
    if TO_FILL_IN in text:
        return ScoreItem("skill_doc", "failed", "parts of it are still to be filled in")
    if not view.skill.description.strip():
        return ScoreItem("skill_doc", "warning", "the manifest's own description is empty")
    return ScoreItem("skill_doc", "passed", f"{len(text.split())} words, valid front matter")


def _licence(view: ManifestView) -> ScoreItem:
    stated = stated_licence(view)
    if stated:
        return ScoreItem("licence", "passed", f"{stated}, as its creator states")
    return ScoreItem(
        "licence",
        "warning",
        "none is stated, so nobody may assume a right to use it",
        "train or import it with --license, or give a skill document with a license line",
    )


def stated_licence(view: ManifestView) -> str:
    """The adapter's licence in its creator's words, "" where there is none."""
    labels = (view.provenance or {}).get("labels")
    label = cast("dict[str, object]", labels).get("license") if isinstance(labels, dict) else None
    if isinstance(label, str) and label.strip():
        return one_line(label)[:200]
    front = (view.skill_doc or "").split("\n---\n", 1)[0]
    found = _LICENSE_LINE.search(front)
    return one_line(found.group(1).strip().strip("\"'"))[:200] if found else ""


def _lineage(view: ManifestView) -> ScoreItem:
    stated = view.provenance or {}
    needed = ("base_weights", "tokenizer", "chat_template", "test_data")
    missing = [n for n in needed if not _HEX64.match(str(stated.get(n) or ""))]
    if missing:
        return ScoreItem(
            "lineage",
            "failed",
            f"no digest of {', '.join(missing)}: it can't be told what it was made from",
        )
    parent = str(stated.get("parent") or "")
    if parent and not _HEX64.match(parent):
        return ScoreItem("lineage", "failed", "its parent is no digest of a package")
    recipe = one_line(str(stated.get("recipe") or "unknown"))[:40]
    line = f"recipe {recipe}" + (f", continues {parent[:16]}" if parent else "")
    if not _HEX64.match(str(stated.get("train_data") or "")):
        return ScoreItem(
            "lineage", "warning", f"{line}; its training data is not known, not even by digest"
        )
    return ScoreItem("lineage", "passed", f"{line}; data and base are named by digest")


def _compliance(view: ManifestView) -> ScoreItem:
    claims = view.skill.compliance
    if not claims:
        return ScoreItem("compliance", "passed", "nothing is claimed")
    listed = ", ".join(one_line(claim)[:60] for claim in claims[:10])
    return ScoreItem(
        "compliance",
        "warning",
        f"claimed and signed by the creator, examined by nobody: {listed}",
        evidence={"claims": [one_line(claim)[:200] for claim in claims[:50]]},
    )
