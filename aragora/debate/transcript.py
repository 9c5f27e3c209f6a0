"""Transcripts: a stored debate as Markdown, or as one HTML file without scripts or network.

Everything that agents wrote is text here: escaped in HTML, indented as a quotation in Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby

from aragora.agents.quoting import plain
from aragora.memory.debates import StoredDebate
from aragora.memory.records import Message

_TITLE_CHARS = 90
_COLOURS = 6
_PHASES = {
    "propose": "Proposals",
    "critique": "Critiques",
    "revise": "Revisions",
    "vote": "Votes",
    "judge": "The judge",
}


@dataclass(frozen=True)
class _Turn:
    label: str
    colour: int
    agent: str
    what: str
    mark: str
    tokens: int
    seconds: str
    problem: str
    text: str
    prompt: str


def to_html(stored: StoredDebate) -> str:
    """The whole debate as one page."""
    from jinja2 import Environment, StrictUndefined

    source = files("aragora.debate").joinpath("template/transcript.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    sections = [{"title": title, "turns": turns} for title, turns in _sections(stored)]
    return environment.from_string(source).render(
        title=_title(stored),
        debate=stored.debate,
        question=_question(stored),
        when=_when(stored),
        verdict=_verdict(stored),
        seats=_seats(stored),
        sections=sections,
    )


def to_markdown(stored: StoredDebate) -> str:
    """The whole debate as Markdown, without the prompts."""
    lines = [
        f"# {_escaped(_title(stored))}",
        "",
        f"{stored.debate.protocol_name}, {_when(stored)}, seed {stored.debate.seed}, "
        f"debate `{stored.debate.id}`",
        "",
        _indented(_question(stored)),
        "",
        *(f"**{_escaped(line)}**  " for line in _verdict(stored)),
        "",
        "| seat | agent | role | model | adapter | Elo before | place |",
        "|---|---|---|---|---|---|---|",
    ]
    for seat in _seats(stored):
        lines.append("| " + " | ".join(_escaped(v) for v in seat.values()) + " |")
    for title, turns in _sections(stored):
        lines += ["", f"## {title}", ""]
        for turn in turns:
            notes = [turn.what, turn.mark, turn.problem, f"{turn.tokens} tokens"]
            head = ", ".join(_escaped(n) for n in notes if n)
            lines += [f"**{turn.label} ({_escaped(turn.agent)})** {head}", ""]
            lines += [_indented(turn.text or "(nothing that counts)"), ""]
    return "\n".join(lines) + "\n"


def _sections(stored: StoredDebate) -> list[tuple[str, list[_Turn]]]:
    messages = sorted(stored.messages, key=lambda m: m.turn)
    out: list[tuple[str, list[_Turn]]] = []
    for (number, phase), group in groupby(messages, key=lambda m: (m.round, m.phase)):
        title = _PHASES[phase] if phase == "propose" else f"{_PHASES[phase]}, round {number}"
        out.append((title, [_turn(stored, m) for m in group]))
    return out


def _turn(stored: StoredDebate, message: Message) -> _Turn:
    who = stored.participants[message.seat]
    prompt = "\n\n".join(f"[{m['role']}]\n{plain(m['content']).text}" for m in message.prompt)
    return _Turn(
        label=_label(stored, message.seat),
        colour=message.seat % _COLOURS,
        agent=who.agent,
        what=_what(stored, message),
        mark=_mark(stored, message),
        tokens=message.completion_tokens,
        seconds=f"{message.latency_s:.1f}",
        problem=_problem(message),
        # Hidden and reordering characters would let a text look like something else.
        text=plain(message.text, has_roles=True).text if message.is_usable else "",
        prompt=prompt,
    )


def _what(stored: StoredDebate, message: Message) -> str:
    if message.phase == "critique":
        return f"on {_label(stored, message.target)}"
    if message.phase in ("vote", "judge") and message.answer:
        vote = next((v for v in stored.votes if v.message_id == message.id), None)
        sure = "" if message.confidence is None else f", {message.confidence:.0%} sure"
        if vote is not None and vote.invalid:
            return f"not counted: {vote.invalid}"
        return f"for {plain(message.answer).text}{sure}"
    return ""


def _mark(stored: StoredDebate, message: Message) -> str:
    verdict = next((v for v in stored.verdicts if v.message_id == message.id), None)
    if verdict is None:
        return ""
    return "right" if verdict.score >= 0.5 else "wrong"


def _problem(message: Message) -> str:
    parts = [message.status if message.status != "ok" else "", message.error or ""]
    if message.neutralised:
        parts.append(f"{message.neutralised} marks taken out of what it was shown")
    return ": ".join(p for p in parts if p)


def _verdict(stored: StoredDebate) -> list[str]:
    outcome = stored.outcome
    if outcome is None:
        return ["Not finished", stored.debate.error or "it can be resumed"]
    how = "consensus" if outcome.is_reached else "no consensus"
    return [
        f"Answer: {plain(outcome.answer, has_roles=True).text}"
        if outcome.answer is not None
        else "No answer",
        f"{how} ({outcome.consensus}, by {outcome.decided_by}), confidence "
        f"{outcome.confidence:.0%}, agreement {outcome.agreement:.0%}, "
        f"{outcome.rounds} rounds, stopped by {outcome.stopped}",
    ]


def _seats(stored: StoredDebate) -> list[dict[str, str]]:
    places = {s.seat: str(s.place) for s in stored.standings}
    return [
        {
            "label": _label(stored, p.seat),
            "agent": p.agent,
            "role": p.role,
            "model": p.model,
            "adapter": p.adapter or "",
            "elo": "new" if p.elo_before is None else f"{p.elo_before:.0f}",
            "place": places.get(p.seat, ""),
        }
        for p in stored.participants
    ]


def _label(stored: StoredDebate, seat: int) -> str:
    from aragora.debate.seats import seat_labels

    return seat_labels(len(stored.participants))[seat]


def _question(stored: StoredDebate) -> str:
    task = stored.task
    return f"{task.context}\n\n{task.text}" if task.context else task.text


def _title(stored: StoredDebate) -> str:
    words = " ".join(stored.task.text.split())
    return words if len(words) <= _TITLE_CHARS else f"{words[:_TITLE_CHARS].rstrip()}…"


def _when(stored: StoredDebate) -> str:
    moment = datetime.fromtimestamp(stored.debate.started_at, UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _indented(text: str) -> str:
    # Four blanks make a code block: nothing in it is markup.
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _escaped(text: str) -> str:
    clean = plain(text, has_roles=True).text.replace("\n", " ")
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!&" else c for c in clean)
