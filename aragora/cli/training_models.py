"""`aragora training list-models`, `sample` and `test-connection`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from aragora.cli.options import Json

LIST_EPILOG = """
Examples:

  aragora training list-models

More about single models: `aragora models --help`.
"""
SAMPLE_EPILOG = """
Examples:

  aragora training sample --model-id aragora-sft-v1 "Your prompt"

  aragora training sample --stream "Which is dearer, $5 or $7?"

Without --model-id the bare base answers.
"""
TEST_EPILOG = """
Examples:

  aragora training test-connection

Exit code 1: no answer; the message says what to do.
"""


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command("list-models", epilog=LIST_EPILOG, help="Trained models.")(list_models)
    app.command("sample", epilog=SAMPLE_EPILOG, help="Ask a model.")(sample)
    app.command("test-connection", epilog=TEST_EPILOG, help="Whether the engine answers.")(check)


def list_models(
    domain: Annotated[str | None, typer.Option(help="Only models for this domain.")] = None,
    as_json: Json = False,
) -> None:
    """Print the registry."""
    from aragora.cli.models import print_models
    from aragora.training.model_registry import get_registry

    print_models(get_registry().list_models(domain=domain), as_json=as_json)


def sample(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model_id: Annotated[
        str | None, typer.Option(help="Id of the registry, or a tinker:// path.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Base model.")] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", min=0)] = 0.7,
    max_tokens: Annotated[int, typer.Option(help="Most tokens.", min=1)] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it comes.")] = False,
    as_json: Json = False,
) -> None:
    """Print the answer."""
    import asyncio

    from aragora.agents.quoting import plain
    from aragora.training.tinker_client import TinkerClient

    async def go() -> str:
        async with TinkerClient() as client:
            if not stream:
                return await client.sample(
                    prompt, model_id, temperature, max_tokens, model=model, seed=seed
                )
            said = ""
            pieces = client.sample_stream(
                prompt, model_id, temperature, max_tokens, model=model, seed=seed
            )
            async for piece in pieces:
                said += piece
                if not as_json:
                    print(plain(piece, has_roles=True).text, end="", flush=True)
            return said

    answer = asyncio.run(go())
    if as_json:
        print(json.dumps({"model_id": model_id, "text": answer}))
    else:
        # A terminal must not obey what a model says.
        print("" if stream else plain(answer, has_roles=True).text)


def check(as_json: Json = False) -> None:
    """Print what the check found."""
    import asyncio

    from aragora.training.connection_check import check_connection

    status = asyncio.run(asyncio.to_thread(check_connection, None, None))
    if as_json:
        print(json.dumps(status.to_json()))
    elif status.is_ok:
        print(f"{status.message} ({status.base_url}, one token in {status.latency_s or 0:.2f} s)")
        print(f"models: {', '.join(status.models)}")
    else:
        print(f"error: {status.message}", file=sys.stderr)
    raise SystemExit(0 if status.is_ok else 1)
