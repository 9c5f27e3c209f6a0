"""The run report: one HTML file that needs nothing else and can do nothing.

Invariants: no script, no request to anywhere, one style block named by its hash in the page's
content security policy; every value that comes from a record passes `_shown` and autoescaping,
so text of the data is only ever text.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tensafe.files import write_text
from tensafe.report import sections, wording
from tensafe.report.answers import RULE
from tensafe.report.records import RunRecords, read_run
from tensafe.tgsp.text import visible

REPORT_NAME = "report.html"


def write_report(folder: Path, target: Path | None = None) -> Path:
    """Write the report of the run in `folder`, and give its path.

    Raises:
        DataError: the folder holds no run, or a record in it can't be read.
    """
    page = render_report(read_run(folder))
    path = target or folder / REPORT_NAME
    write_text(path, page)
    return path


def render_report(run: RunRecords) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("tensafe.report") / "template"
    style = (source / "report.css").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=wording.share,
        signed=wording.signed,
        number=wording.number,
        size=wording.size,
        label=wording.label,
        quote=wording.quote,
    )
    template = environment.from_string((source / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        # Safe as markup: both are made of this package's own files, never of a record.
        style=Markup(style),
        style_hash=_source_hash(style),
        run=run,
        headline=sections.headline(run),
        training=sections.training(run),
        gates=sections.gates(run),
        answers=sections.answers(run.evaluation) if run.evaluation else None,
        rule=RULE,
        provenance=sections.provenance(run),
        settings=sections.settings(run),
        written=wording.moment(datetime.now(UTC).timestamp()),
        version=metadata.version("aragora"),
    )


def _shown(value: Any) -> Any:
    """Spell out hidden characters, so that no text of the data can reorder or hide a part."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _source_hash(style: str) -> str:
    """The style block's name in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode()
