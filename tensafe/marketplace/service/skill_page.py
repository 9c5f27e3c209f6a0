"""A package's skill document as HTML that can do nothing but be read.

Twice made harmless: the Markdown renderer writes raw HTML as text and makes no images, and what
comes out is cut down to a list of plain elements by an HTML sanitiser. The page that shows it
allows no script besides (`limits.HEADERS`).
"""

from __future__ import annotations

import re
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from tensafe.tgsp.text import visible

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_TAGS = {
    "a", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h3", "h4", "h5", "h6", "hr",
    "li", "ol", "p", "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}}
_SCHEMES = {"http", "https", "mailto"}
# The page's own headings are levels 1 and 2.
_LEVELS_DOWN = 2
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
_MARKDOWN.disable("image")


@lru_cache(maxsize=256)
def skill_html(skill_doc: str) -> Markup:
    """The document without its front matter, as sanitised HTML."""
    body = _FRONT_MATTER.sub("", visible(skill_doc), count=1)
    tokens = _MARKDOWN.parse(body)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + _LEVELS_DOWN)}"
    rendered = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    clean = nh3.clean(
        rendered,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_whole_address,
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer",
    )
    return Markup(clean)


def _whole_address(_tag: str, attribute: str, value: str) -> str | None:
    """Drop relative links: in the package they led to its files, here to the service's pages."""
    if attribute == "href" and value.partition(":")[0].lower() not in _SCHEMES:
        return None
    return value
