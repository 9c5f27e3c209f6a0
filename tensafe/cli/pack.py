"""`tensafe pack`: a finished run as a signed package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

EPILOG = """
Exit codes: 0 packaged, 3 a gate said no. Without RUN the project, or the only run under runs/, in
this folder is taken. The key of the creator's name is made on first use.

Examples:

  tensafe pack --sign --creator "Your Name <you@example.org>"

  tensafe pack runs/support --sign --skill-doc ./my_skill_description.md
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EPILOG, help="Write and sign the package of a finished run.")(pack)


def pack(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder, or the adapter folder in it.")
    ] = None,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign it; there are no unsigned packages.")
    ] = False,
    creator: Annotated[
        str | None, typer.Option(help='"Name <email>" [default: who trained, or your only key].')
    ] = None,
    skill_doc: Annotated[
        Path | None, typer.Option(help="Your own SKILL.md in place of the written one.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File [default: RUN/NAME.tgsp].")] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the passphrase, mode 0600 [else TENSAFE_KEY_PASSPHRASE, or ask]."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Parse, package, print."""
    from tensafe.errors import UsageError
    from tensafe.pipeline.packing import pack_run

    if not sign:
        raise UsageError("packages are always signed: add --sign")
    packed = pack_run(
        run, creator=creator, skill_doc=skill_doc, out=out, passphrase_file=passphrase_file
    )
    package, who = packed.package, packed.creator
    if as_json:
        result = {
            "package": str(package.path),
            "package_digest": package.package,
            "payload_digest": package.payload,
            "size_bytes": package.size_bytes,
            "creator": {"name": who.name, "email": who.email, "fingerprint": packed.fingerprint},
            "gates": {name: record.verdict for name, record in vars(packed.run.gates).items()},
        }
        print(json.dumps(result, indent=2))
        return
    print(f"packaged {package.path} ({package.size_bytes:,} bytes)")
    print(f"digest   {package.package}")
    print(f"adapter  {package.payload}")
    print(f"signed   {who.name}{f' <{who.email}>' if who.email else ''}, key {packed.fingerprint}")
    print(f"check it: tensafe verify {package.path}")
