"""An incident as one HTML file that needs nothing else and can do nothing.

No script, no request to anywhere, one style block named by its hash in the page's content security
policy; every value passes autoescaping, and hidden characters are spelt out.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tensafe.tgsp.text import visible

if TYPE_CHECKING:
    from tensafe.gate.incident import Incident

_KINDS = {
    "swap_rejected": "Swap blocked",
    "live_quality": "Taken back: live quality fell",
    "slot_damaged": "A live slot is damaged",
    "slot_unwanted": "A live adapter would be refused today",
}


def render_incident(incident: Incident) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("tensafe.gate") / "template"
    style = (source / "incident.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string((source / "incident.html.j2").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    return template.render(
        # Safe as markup: it is this package's own file, never of a record.
        style=Markup(style),
        style_hash=Markup(f"sha256-{digest}"),
        incident=incident,
        kind=_KINDS[incident.kind],
        refused="Taken back" if incident.kind == "live_quality" else "Blocked",
    )


def _shown(value: Any) -> Any:
    """Spell out hidden characters, so that no text can reorder or hide a part of the page."""
    return visible(value) if type(value) is str else value
