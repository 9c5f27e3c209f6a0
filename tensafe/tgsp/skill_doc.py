"""The SKILL.md inside every package: what the adapter does, said from what was measured.

Owns its layout (Agent Skills front matter, then fixed sections) and the rules for a custom one.
Refuses what an agent or a page could be misled by: control characters, documents without valid
front matter, more than 256 KiB. The writer is given measured facts and the owner's own words,
never training examples, so it can't quote any.
Front matter rules: https://agentskills.io/specification (name, description).
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tensafe.errors import DataError
from tensafe.tgsp.keys import Identity
from tensafe.tgsp.metadata import EvaluationInfo, LoraShape, ModelInfo, PrivacyInfo, SkillInfo
from tensafe.tgsp.text import is_shown, one_line

MAX_SKILL_DOC_BYTES = 256 * 1024
MAX_NAME = 64
MAX_DESCRIPTION = 1024
# How a template marks what its owner has to write; a document that still has it is not finished.
TO_FILL_IN = "<!-- to fill in:"
_FRONT_MATTER = re.compile(r"---\n(?P<matter>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_ALLOWED_FIELDS = {"name", "description", "license", "allowed-tools", "metadata", "compatibility"}


@dataclass(frozen=True)
class LayerResult:
    """One screening layer in a line: its name, whether it passed, and its measured figure."""

    name: str
    passed: bool
    figure: str


@dataclass(frozen=True)
class SkillFacts:
    """All that an embedded skill document is written from.

    `trained_on` counts training examples (None: not known here); `untested` are limits that the
    run's own configuration implies, in full sentences; `license` is the owner's statement.
    `is_foreign` marks an adapter of whose training nothing is known here.
    """

    name: str
    domain: str
    model: ModelInfo
    lora: LoraShape
    skill: SkillInfo
    evaluation: EvaluationInfo
    screening: tuple[LayerResult, ...]
    privacy: PrivacyInfo | None
    creator: Identity
    trained_on: int | None
    languages: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    license: str = ""
    is_foreign: bool = False


def write_skill_doc(facts: SkillFacts) -> str:
    """The embedded SKILL.md as Markdown text."""
    title = _line(facts.name)
    sections = [
        ("When to use", _when(facts)),
        ("Capabilities", _capabilities(facts)),
        ("Input and output", _input_output(facts)),
        ("Composes with", _composes(facts)),
        ("Limits", _limits(facts)),
        ("Compliance", _compliance(facts.skill)),
        ("Creator", _line(str(facts.creator))),
    ]
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections)
    return f"---\n{_front_matter(facts)}\n---\n\n# {title}\n\n{body}\n"


def skill_name(text: str) -> str:
    """A package's name as a skill name: lower-case letters, digits and single hyphens, at most 64.

    Raises:
        DataError: nothing usable is left of it.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME].strip("-")
    if not name:
        raise DataError(f"{text!r} gives no skill name: use letters or digits")
    return name


def read_custom_skill_doc(path: Path) -> str:
    """A creator's own skill document, checked.

    Raises:
        DataError: unreadable, too large, or breaks a rule of `require_skill_doc`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    try:
        require_skill_doc(text)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if TO_FILL_IN in text:
        line = text[: text.index(TO_FILL_IN)].count("\n") + 1
        raise DataError(f"{path}, line {line}: still to fill in; write this part or remove it")
    return text


def require_skill_doc(text: str) -> None:
    """Demand valid Agent Skills front matter and harmless characters.

    Raises:
        DataError: says which rule is broken and what is expected.
    """
    import yaml

    if len(text.encode("utf-8", "surrogatepass")) > MAX_SKILL_DOC_BYTES:
        raise DataError(f"a skill document holds at most {MAX_SKILL_DOC_BYTES} bytes")
    if bad := next((c for c in text if c not in "\n\t" and not is_shown(c)), None):
        raise DataError(f"the skill document holds the control character U+{ord(bad):04X}")
    found = _FRONT_MATTER.match(text)
    if found is None:
        raise DataError("a skill document starts with front matter between two lines of ---")
    try:
        matter: object = yaml.safe_load(found["matter"])
    except yaml.YAMLError as error:
        raise DataError("the front matter is not YAML") from error
    if not isinstance(matter, dict):
        raise DataError("the front matter holds no fields: give name and description")
    fields = cast("dict[object, object]", matter)
    unknown = sorted(str(key) for key in fields if key not in _ALLOWED_FIELDS)
    if unknown:
        raise DataError(f"front matter field {unknown[0]!r} is none of {sorted(_ALLOWED_FIELDS)}")
    name, description = fields.get("name"), fields.get("description")
    if not isinstance(name, str) or len(name) > MAX_NAME or skill_name(name) != name:
        raise DataError("front matter name: lower-case letters, digits, single hyphens, at most 64")
    if not isinstance(description, str) or not 0 < len(description.strip()) <= MAX_DESCRIPTION:
        raise DataError(f"front matter description: 1 to {MAX_DESCRIPTION} characters")


def _front_matter(facts: SkillFacts) -> str:
    description = one_line(facts.skill.description)
    if not description:
        raise DataError("the skill needs a description: say in a sentence what the adapter does")
    score = f"Measured qa_verify score {facts.evaluation.score:.3f} on held-out items."
    # The reference parser ends the front matter at the first "---", wherever it stands.
    description = re.sub(r"-{3,}", "--", description)
    room = MAX_DESCRIPTION - len(score) - 1
    # A JSON string is a YAML double-quoted scalar, so no text can end the field early.
    text = json.dumps(f"{description[:room]} {score}", ensure_ascii=False)
    license_line = ""
    if facts.license:
        license_line = f"\nlicense: {json.dumps(one_line(facts.license), ensure_ascii=False)}"
    return f"name: {skill_name(facts.name)}\ndescription: {text}{license_line}"


def _when(facts: SkillFacts) -> str:
    lines = [
        f"{_line(facts.skill.description)}",
        "",
        f"Field: {_line(facts.domain)}. "
        f"A LoRA adapter of rank {facts.lora.rank} for the base model "
        f"`{_code(facts.model.base_model)}` ({_line(facts.model.architecture)}); it works on no "
        "other base.",
    ]
    if facts.languages:
        lines.append(f"Languages in its data: {', '.join(map(_line, facts.languages))}.")
    if facts.skill.triggers:
        lines += ["", "Use it when a request is like:", ""]
        lines += [f"- {_line(trigger)}" for trigger in facts.skill.triggers]
    return "\n".join(lines)


def _capabilities(facts: SkillFacts) -> str:
    evaluation = facts.evaluation
    low, high = evaluation.interval
    lines = [f"- {_line(capability)}" for capability in facts.skill.capabilities]
    if lines:
        lines += ["", "The list above is the creator's; what was measured is this:", ""]
    learned = "" if facts.trained_on is None else f", learned from {facts.trained_on} others"
    lines.append(
        f"- qa_verify score **{evaluation.score:.3f}** "
        f"({evaluation.confidence:.0%} interval {low:.3f} to {high:.3f}) on "
        f"{evaluation.test_size} held-out items{learned}."
    )
    if evaluation.base_score is None:
        lines.append("- The base model without the adapter was not measured.")
    else:
        paired = (
            "" if evaluation.p_value is None else f" (paired test p = {evaluation.p_value:.2g})"
        )
        lines.append(
            f"- The base model without the adapter scores {evaluation.base_score:.3f} on the same "
            f"items{paired}."
        )
    return "\n".join(lines)


def _input_output(facts: SkillFacts) -> str:
    return (
        f"- Input: {_line(facts.skill.input_format)}\n"
        f"- Output: {_line(facts.skill.output_format)}\n"
        "- Prompts are rendered with the base model's own chat template."
    )


def _composes(facts: SkillFacts) -> str:
    if not facts.skill.composable_with:
        return "No composition with another adapter was declared or tested."
    names = "\n".join(f"- {_line(name)}" for name in facts.skill.composable_with)
    return f"Declared by the creator, not tested:\n\n{names}"


def _limits(facts: SkillFacts) -> str:
    lines = [
        "- The score holds for data like the held-out split; other topics, languages and formats "
        "were not tested.",
        *(f"- {_line(limit)}" for limit in facts.untested),
    ]
    if facts.screening:
        lines.append(
            "- Screening (RVUv2) looked at the layers below and at nothing else; passing it is no "
            "proof of harmlessness:"
        )
        lines += [
            f"  - {_line(layer.name)}: {'passed' if layer.passed else 'FAILED'}"
            + (f", {_line(layer.figure)}" if layer.figure else "")
            for layer in facts.screening
        ]
    privacy = (
        "Privacy: nothing vouches for any; it may have memorised training records."
        if facts.is_foreign
        else _privacy(facts.privacy)
    )
    lines.append(f"- {privacy}")
    return "\n".join(lines)


def _privacy(privacy: PrivacyInfo | None) -> str:
    if privacy is None:
        return (
            "Privacy: trained **without** differential privacy; the adapter may have memorised "
            "training records."
        )
    return (
        f"Privacy: trained with differential privacy ({_line(privacy.mechanism)}), epsilon "
        f"{privacy.epsilon:.3f} at delta {privacy.delta:.2e}; the unit is {_line(privacy.unit)}. "
        "It bounds what the weights reveal about one such unit, not about facts that many of "
        "them share, and not the held-out score, which is computed on other records without noise."
    )


def _compliance(skill: SkillInfo) -> str:
    if not skill.compliance:
        return "Nothing is declared."
    tags = "\n".join(f"- {_line(tag)}" for tag in skill.compliance)
    return f"Declared and signed by the creator; nobody else has examined it:\n\n{tags}"


def _line(text: str) -> str:
    """One line of Markdown that is only text: no breaks, markup, links or control characters."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", one_line(text))


def _code(text: str) -> str:
    return one_line(text).replace("`", "")
