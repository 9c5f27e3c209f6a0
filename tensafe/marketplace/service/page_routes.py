"""The web page: browse and search, read a skill document, compare, see who publishes.

Pages are made on the server and work without a script. All that packages bring is escaped by the
templates, but for the skill document, which `skill_page` makes harmless.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi import Query as QueryField
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from tensafe.marketplace.records import Listing, Query
from tensafe.marketplace.service.api_routes import download, find
from tensafe.marketplace.service.market import Market
from tensafe.marketplace.service.refusals import RefusedError
from tensafe.marketplace.service.skill_page import skill_html
from tensafe.tgsp.text import one_line

MOST_COMPARED = 4
_PAGE_SIZE = 20
_ORDERS = ("relevance", "newest", "score", "downloads")


def page_routes(market: Market) -> APIRouter:
    """All routes that people use."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    style = resources.files("tensafe.marketplace.service").joinpath("static", "style.css")
    css = style.read_text(encoding="utf-8")

    @router.get("/static/style.css")
    def stylesheet() -> Response:
        return Response(css, media_type="text/css", headers={"cache-control": "max-age=300"})

    @router.get("/")
    def browse(request: Request) -> Response:
        asked = _asked(request)
        found = market.catalogue.versions.search(asked)
        return _page(
            "browse.html",
            market,
            query=asked,
            found=found,
            facets=market.catalogue.versions.facets(),
            orders=_ORDERS,
            pages=_neighbours(asked, found.total),
            most=MOST_COMPARED,
        )

    @router.get("/packages/{reference}")
    def package(reference: str) -> Response:
        stored = find(market, reference)
        return _page(
            "package.html",
            market,
            item=stored.listing,
            handle=stored.handle,
            skill=skill_html(stored.skill_doc),
            steps=json.loads(stored.report)["steps"],
            versions=market.catalogue.versions.of_package(stored.listing.name),
        )

    @router.get("/packages/{reference}/download")
    def get(reference: str) -> Response:
        return download(market, find(market, reference).listing)

    @router.get("/compare")
    def compare(item: Annotated[list[str] | None, QueryField(max_length=20)] = None) -> Response:
        wanted = list(dict.fromkeys(item or []))
        if not 2 <= len(wanted) <= MOST_COMPARED:
            raise RefusedError(f"choose 2 to {MOST_COMPARED} packages to compare")
        items = [find(market, reference).listing for reference in wanted]
        return _page("compare.html", market, items=items, rows=_rows(items))

    @router.get("/creators/{handle}")
    def creator(handle: str) -> Response:
        return _page(
            "creator.html",
            market,
            creator=market.catalogue.creators.get(handle),
            items=market.catalogue.versions.of_creator(handle),
        )

    return router


def error_page(market: Market, status: int, told: str) -> Response:
    """A page that says what went wrong and leads back."""
    return _page("error.html", market, status=status, told=one_line(told)[:500])


def _page(template: str, market: Market, **values: Any) -> Response:
    html = _TEMPLATES.get_template(template).render(market=market, **values)
    return HTMLResponse(html, status_code=values.get("status", 200))


def _asked(request: Request) -> Query:
    """The form's fields; empty ones are as good as none, percentages become shares."""
    given = {name: value for name, value in request.query_params.items() if value.strip()}
    page = given.pop("page", "1")
    fields = {name: value for name, value in given.items() if name in Query.model_fields}
    fields.pop("limit", None)
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 5 else 1
    return Query.model_validate(
        {**fields, "limit": _PAGE_SIZE, "offset": max(0, number - 1) * _PAGE_SIZE}
    )


def _neighbours(asked: Query, total: int) -> dict[str, str]:
    """Links to the page before and the page after, where there are any."""
    here = asked.offset // _PAGE_SIZE + 1
    told = asked.model_dump(exclude={"limit", "offset"}, exclude_none=True, exclude_defaults=True)
    pages: dict[str, str] = {}
    if here > 1:
        pages["before"] = "/?" + urlencode({**told, "page": here - 1})
    if asked.offset + _PAGE_SIZE < total:
        pages["after"] = "/?" + urlencode({**told, "page": here + 1})
    return pages


def _rows(items: list[Listing]) -> list[tuple[str, list[str], bool]]:
    """The comparison: a label, a value for each package, and whether they differ."""
    told: list[tuple[str, list[str]]] = [
        ("What it does", [item.description for item in items]),
        ("Domain", [item.domain or "not stated" for item in items]),
        ("Base model", [item.base for item in items]),
        ("Architecture", [item.architecture for item in items]),
        ("LoRA rank", [str(item.rank) for item in items]),
        ("Score", [score(item) for item in items]),
        ("Base model's own score", [share(item.base_score) for item in items]),
        ("Held-out items", [str(item.test_size or "not stated") for item in items]),
        ("Privacy", [privacy(item) for item in items]),
        ("Licence", [item.licence or "not stated" for item in items]),
        ("Declared compliance", [", ".join(item.compliance) or "nothing" for item in items]),
        ("Creator", [item.creator or "not stated" for item in items]),
        ("Size", [size(item.size_bytes) for item in items]),
        ("Published", [item.published[:10] for item in items]),
        ("Downloads", [str(item.downloads) for item in items]),
    ]
    return [(label, values, len(set(values)) > 1) for label, values in told]


def share(value: float | None) -> str:
    """A share of 1 with three digits."""
    return "not measured" if value is None else f"{value:.3f}"


def score(item: Listing) -> str:
    """The measured score with its interval."""
    if item.score is None or item.score_low is None or item.score_high is None:
        return "not stated"
    return f"{item.score:.3f} ({item.score_low:.3f} to {item.score_high:.3f})"


def privacy(item: Listing) -> str:
    """Epsilon and delta, or that there are none."""
    if item.epsilon is None or item.delta is None:
        return "none"
    return f"ε {item.epsilon:.2f} at δ {item.delta:.0e}"


def size(size_bytes: int) -> str:
    """Bytes in the unit that suits."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("tensafe.marketplace.service"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(share=share, score=score, privacy=privacy, size=size)
    return made


_TEMPLATES = _environment()
