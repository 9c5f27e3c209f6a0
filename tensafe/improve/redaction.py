"""An interaction without its personal data and secrets."""

from __future__ import annotations

from dataclasses import replace

from tensafe.curate.pii import redact
from tensafe.data.records import Message
from tensafe.improve.interactions import Feedback, Interaction


def redacted(one: Interaction) -> Interaction:
    """The same exchange with marks such as `[EMAIL]` in its turns and in what was said of it."""
    turns = tuple(Message(role=t["role"], content=redact(t["content"]).text) for t in one.messages)
    return replace(one, messages=turns, feedback=redacted_feedback(one.feedback))


def redacted_feedback(feedback: Feedback) -> Feedback:
    """The same opinion with marks in its texts."""
    return Feedback(feedback.rating, redact(feedback.edit).text, redact(feedback.correction).text)
