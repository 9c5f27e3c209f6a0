"""Sets of adapters behind one slot: the document that names them, and the router that picks one.

Every request is answered by one member, picked from what its skill document says it is for. The
document holds the words that the router looks at, so that its digest covers the routing: other
words are another set, with a red team of its own. Where no member's words fit, `otherwise` answers:
a member, or the bare base.

    similarity = sum of idf(s)^2 over shared stems / (|request| |member|)

with idf(s) = ln(1 + members / members with s), as in Salton and Buckley 1988; the word counts of a
skill document say little, so each stem counts once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from tensafe.errors import UsageError
from tensafe.gate.swap_records import MOST_MEMBERS, Member
from tensafe.screen.refusal import content_stems
from tensafe.tgsp.canonical import canonical_json, parse
from tensafe.tgsp.manifest import ManifestView

FORMAT = "tensafe-adapter-set"
BASE = "base"
_MOST_STEMS = 400


@dataclass(frozen=True)
class Routed:
    """Where a request goes: a member's digest or "base", and how well its words fit."""

    digest: str
    similarity: float


def set_document(members: Sequence[tuple[Member, ManifestView]], *, otherwise: str) -> bytes:
    """The document of a gated set; `otherwise` is a member's digest or "base".

    Raises:
        UsageError: fewer than two members, too many, one twice, or an unknown `otherwise`.
    """
    digests = [member.adapter_digest for member, _ in members]
    if not 2 <= len(digests) <= MOST_MEMBERS:
        raise UsageError(f"a gated set has 2 to {MOST_MEMBERS} adapters, not {len(digests)}")
    twice = next((digest for digest in digests if digests.count(digest) > 1), None)
    if twice is not None:
        names = " and ".join(m.skill_name for m, _ in members if m.adapter_digest == twice)
        raise UsageError(f"{names} are one and the same adapter ({twice[:16]}); name it once")
    if otherwise not in (*digests, BASE):
        raise UsageError(f"otherwise is {otherwise!r}; expected a member's digest or {BASE}")
    return canonical_json(
        {
            "format": FORMAT,
            "version": 1,
            "otherwise": otherwise,
            "members": [
                {
                    "digest": member.adapter_digest,
                    "config_digest": member.config_digest,
                    "package_digest": member.package_digest,
                    "name": member.skill_name,
                    "stems": sorted(package_stems(view))[:_MOST_STEMS],
                }
                for member, view in members
            ],
        }
    )


def route(document: bytes, asked: str) -> Routed:
    """The member that answers a request; the same document and text give the same member."""
    routes = _routes(document)
    wanted = content_stems(asked)
    best = Routed(routes.otherwise, 0.0)
    length = math.sqrt(sum(routes.weight(stem) ** 2 for stem in wanted))
    for digest, stems in routes.members:
        shared = sum(routes.weight(stem) ** 2 for stem in wanted & stems)
        if not shared:
            continue
        own = math.sqrt(sum(routes.weight(stem) ** 2 for stem in stems))
        similarity = shared / (length * own)
        if similarity > best.similarity:
            best = Routed(digest, similarity)
    return best


def choose(document: bytes, asked: str) -> str:
    """`route` for the engine, which wants the digest alone."""
    return route(document, asked).digest


@dataclass(frozen=True)
class _Routes:
    members: tuple[tuple[str, frozenset[str]], ...]
    otherwise: str
    idf: dict[str, float]

    def weight(self, stem: str) -> float:
        return self.idf.get(stem, math.log1p(len(self.members)))


@lru_cache(maxsize=64)
def _routes(document: bytes) -> _Routes:
    value = parse(document)
    rows = cast("list[dict[str, object]]", value["members"])
    members = tuple(
        (str(row["digest"]), frozenset(cast("list[str]", row["stems"]))) for row in rows
    )
    known = Counter(stem for _, stems in members for stem in stems)
    idf = {stem: math.log1p(len(members) / count) for stem, count in known.items()}
    return _Routes(members, str(value["otherwise"]), idf)


def package_stems(view: ManifestView) -> frozenset[str]:
    """What a package says it is for: names, skill part, and the skill document's own words.

    Words that every skill document has (headings, the limits' standard sentences) are shared by
    all members and so weigh least.
    """
    skill = view.skill
    texts = (
        view.name.replace("-", " "), view.domain, skill.description, *skill.triggers,
        *skill.capabilities, skill.input_format, skill.output_format, view.skill_doc or "",
    )  # fmt: skip
    return content_stems(" ".join(texts))
