"""Ollama's Modelfile: base, adapter, chat template and stop texts in its own notation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensafe.errors import ExportRefusedError
from tensafe.tgsp.export.chat_frame import ChatFrame, derive_frame

if TYPE_CHECKING:
    from tensafe.tgsp.export.source import ExportSource

# What would end or change the template's own notation.
_RESERVED = ("{{", "}}", '"""')


def modelfile(source: ExportSource, *, base_file: str, adapter_file: str) -> str:
    """The Modelfile's text; `ollama create NAME -f Modelfile` in its folder uses it.

    Raises:
        ExportRefusedError: the chat template or a stop text can't be written in it.
    """
    frame = derive_frame(source.chat)
    lines = [
        f"FROM ./{base_file}",
        f"ADAPTER ./{adapter_file}",
        f'TEMPLATE """{go_template(frame)}"""',
        *(f'PARAMETER stop "{_quoted(text)}"' for text in source.stop),
        "PARAMETER temperature 0",
        f"PARAMETER num_ctx {source.base.info.max_context}",
    ]
    return "\n".join(lines) + "\n"


def go_template(frame: ChatFrame) -> str:
    """The frame in Go's text/template notation over Ollama's `.Messages`, on no line of its own."""
    for text in frame.texts:
        for reserved in _RESERVED:
            if reserved in text:
                raise ExportRefusedError(
                    f"the chat template holds {reserved}, which a Modelfile's TEMPLATE can't"
                )
    branches: list[str] = []
    for role, (before, after) in frame.around.items():
        word = "if" if not branches else "else if"
        branches.append(f'{{{{ {word} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}')
    turns = f"{{{{ range .Messages }}}}{''.join(branches)}{{{{ end }}}}{{{{ end }}}}"
    preamble = frame.preamble
    if preamble:
        asked = '{{ if ne (index .Messages 0).Role "system" }}'
        preamble = f"{asked}{preamble}{{{{ end }}}}"
    return f"{frame.opening}{preamble}{turns}{frame.generation}"


def _quoted(text: str) -> str:
    if '"' in text or "\n" in text:
        raise ExportRefusedError(f"stop text {text!r} can't stand in a Modelfile's PARAMETER line")
    return text
