"""`tensafe mcp`: the same work as tools for agents."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

EPILOG = """
Over stdio an agent's program starts the server itself. Over HTTP it listens on loopback alone.

Examples:

  tensafe mcp

  tensafe mcp --transport streamable-http --port 8765
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Serve TG Tinker's work over the Model Context Protocol.")(mcp)


def mcp(
    transport: Annotated[
        Literal["stdio", "streamable-http"], typer.Option(help="How clients reach it.")
    ] = "stdio",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the HTTP server.")] = 8765,
) -> None:
    """Serve until the client leaves or Ctrl-C."""
    from tensafe.skills.mcp_tools import make_server

    server = make_server()
    if transport == "stdio":
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)
