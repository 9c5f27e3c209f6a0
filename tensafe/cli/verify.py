"""`tensafe verify` and `tensafe inspect`: is a package intact, whose is it, what does it say?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tensafe.tgsp.manifest import ManifestView
    from tensafe.tgsp.verification import Verification

VERIFY_EPILOG = """
Exit codes: 0 intact (and, with --require-trusted, trusted); 4 anything else.

Trust comes from your trust store alone (see `tensafe keys trust`), never from the package.
"""
VERIFICATION_FAILED = 4
_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "absent": ("–", "yellow")}
_NOT_RUN = ("·", "dim")
_LABELS = {
    "layout": "layout",
    "manifest_fields": "manifest fields",
    "canonical_form": "canonical form",
    "signed_fields": "signed fields",
    "manifest_hash": "manifest hash",
    "payload_hash": "payload hash",
    "creator_key": "creator's key",
    "ed25519": "Ed25519",
    "ml_dsa_65": "ML-DSA-65",
}
_DIGEST_CHECKS = ("manifest_hash", "payload_hash", "creator_key")
_STYLES = {"trusted": "bold green", "untrusted": "bold yellow"}


def register(app: typer.Typer) -> None:
    """Add both commands to the application."""
    app.command(help="Check a package's hashes and signatures.", epilog=VERIFY_EPILOG)(verify)
    app.command(help="Show what a package says about itself.")(inspect)


def verify(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    require_trusted: Annotated[
        bool, typer.Option("--require-trusted", help="Exit 4 if the creator is not trusted.")
    ] = False,
    public_key: Annotated[
        Path | None,
        typer.Option(help="Creator's public key, for packages that carry none; gives no trust."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Verify, print every check, exit 0 or 4."""
    result = _verify(file, public_key)
    code = 0 if result.is_accepted(trusted=require_trusted) else VERIFICATION_FAILED
    if as_json:
        print(json.dumps(_as_json(file, result, code), indent=2))
    else:
        _print_verification(file, result)
    raise typer.Exit(code)


def inspect(
    file: Annotated[Path, typer.Argument(help="The .tgsp package.", exists=True, dir_okay=False)],
    skill: Annotated[
        bool, typer.Option("--skill", help="Only the embedded SKILL.md, as it is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as JSON.")] = False,
) -> None:
    """Print the manifest's summary and skill document; exit 4 if it can't be read."""
    from tensafe.errors import VerificationError
    from tensafe.tgsp.text import visible

    result = _verify(file, None)
    if result.manifest is None:
        raise VerificationError(f"{file}: {result.why}")
    view = result.manifest.view
    if skill:
        print(visible(view.skill_doc or ""), end="")
    elif as_json:
        print(json.dumps(result.manifest.raw, indent=2, sort_keys=True))
    else:
        _print_summary(file, result, view)


def _verify(file: Path, public_key: Path | None) -> Verification:
    from tensafe.errors import DataError
    from tensafe.tgsp.keys import read_public_key_document
    from tensafe.tgsp.keystore import trust_path
    from tensafe.tgsp.trust import load_trust
    from tensafe.tgsp.verification import verify_package

    keys = None
    if public_key is not None:
        try:
            data = public_key.read_bytes()
        except OSError as error:
            raise DataError(f"{public_key}: {error.strerror}") from error
        keys = read_public_key_document(data, name="given").keys
    return verify_package(file, load_trust(trust_path()), public_key=keys)


def _as_json(file: Path, result: Verification, code: int) -> dict[str, object]:
    from tensafe.tgsp.verification import VERDICTS

    view = result.manifest.view if result.manifest is not None else None
    return {
        "file": str(file),
        "verdict": result.verdict,
        "statement": VERDICTS[result.verdict],
        "reason": result.why,
        "exit_code": code,
        "name": view.name if view else None,
        "fingerprint": view.creator.public_key_fingerprint if view else None,
        "payload_hash": result.payload_hash or None,
        "size_bytes": result.size_bytes,
        "checks": [
            {"name": check.name, "status": check.status, "reason": check.reason}
            for check in result.checks
        ],
        "trust": {
            "state": result.trust.state,
            "reason": result.trust.reason,
            "known_as": result.trust.known_as,
        },
    }


def _print_verification(file: Path, result: Verification) -> None:
    from rich.text import Text

    from tensafe.tgsp.keys import Identity
    from tensafe.tgsp.text import one_line

    console = _console()
    console.print(Text(one_line(file.name), "bold"))
    table = _table()
    for check in result.checks:
        mark, style = _MARKS.get(check.status, _NOT_RUN)
        reason = Text(one_line(check.reason), "" if check.status == "passed" else style)
        if check.name in _DIGEST_CHECKS and check.status == "passed":
            reason = Text("as stated")
        table.add_row(Text(mark, style), _LABELS.get(check.name, check.name), reason)
    console.print(table)
    if result.manifest is not None:
        creator = result.manifest.view.creator
        claim = "signed by" if result.verdict != "refused" else "claims to be by"
        known = f", known to you as {result.trust.known_as}" if result.trust.known_as else ""
        who = f"{Identity(creator.name, creator.email, creator.organization)}{known}"
        console.print(Text(f"{claim} {one_line(who)}"), soft_wrap=True)
        console.print(Text(f"key     {creator.public_key_fingerprint}"), soft_wrap=True)
        console.print(Text(f"adapter {result.payload_hash}"), soft_wrap=True)
        console.print(Text(f"trust: {one_line(result.trust.reason)}"), soft_wrap=True)
    _print_verdict(console, result)


def _print_verdict(console: Console, result: Verification) -> None:
    from rich.text import Text

    from tensafe.tgsp.text import one_line
    from tensafe.tgsp.verification import VERDICTS

    console.print(Text(VERDICTS[result.verdict], _STYLES.get(result.verdict, "bold red")))
    if result.verdict == "untrusted":
        console.print(
            Text(
                "Nothing was changed since it was signed, but you have not said that you trust "
                "the signer. Get their public-key file from them, not from the package's source, "
                "and run `tensafe keys trust FILE`."
            )
        )
    elif result.verdict == "ed25519_only":
        console.print(
            Text(
                "Its post-quantum signature is missing or a stub, which this project does not "
                "accept. Re-sign it under your own name with `tensafe import` after the gates."
            )
        )
    elif result.verdict != "trusted":
        console.print(Text(f"Do not use it: {one_line(result.why)}"))


def _print_summary(file: Path, result: Verification, view: ManifestView) -> None:
    from rich.text import Text

    from tensafe.tgsp.text import one_line, visible

    console = _console()
    console.print(Text(one_line(view.name), "bold"), Text(f"({one_line(file.name)})", "dim"))
    table = _table()
    for label, value in _summary(view):
        table.add_row("", label, Text(one_line(value)))
    console.print(table)
    console.print(Text(f"key     {view.creator.public_key_fingerprint}"), soft_wrap=True)
    console.print(Text(f"adapter {result.payload_hash}"), soft_wrap=True)
    _print_verdict(console, result)
    if view.skill_doc is not None:
        console.rule("SKILL.md")
        console.print(Text(visible(view.skill_doc)))


def _summary(view: ManifestView) -> list[tuple[str, str]]:
    from tensafe.validation.manifest_items import stated_licence

    lora = view.lora_config
    rows = [
        ("domain", view.domain),
        ("base", f"{view.model.base_model} ({view.model.architecture})"),
        (
            "adapter",
            f"rank {lora.rank}, alpha {lora.alpha:g}, on {', '.join(lora.target_modules)}",
        ),
        ("made", view.created or "not stated"),
        ("creator", f"{view.creator.name} <{view.creator.email}>"),
        ("quality", _quality(view)),
        ("privacy", _privacy(view)),
        (
            "screening",
            f"{'passed' if view.rvu_safety.screening_passed else 'FAILED'}: "
            f"{', '.join(view.rvu_safety.layers)}",
        ),
        ("licence", stated_licence(view) or "not stated"),
        ("compliance", _claims(view)),
    ]
    for name, gate in sorted((view.gates or {}).items()):
        rows.append((f"gate {name}", f"{gate.get('verdict')}: {gate.get('reason')}"))
    return rows


def _claims(view: ManifestView) -> str:
    claims = ", ".join(view.skill.compliance)
    return f"{claims} (claimed by the creator, examined by nobody)" if claims else "nothing claimed"


def _quality(view: ManifestView) -> str:
    evaluation = view.evaluation
    if evaluation is None:
        return "not stated"
    low, high = evaluation.interval
    base = "not measured" if evaluation.base_score is None else f"{evaluation.base_score:.3f}"
    return (
        f"{evaluation.score:.3f} ({low:.3f} to {high:.3f}) on {evaluation.test_size} held-out "
        f"items; base model {base}"
    )


def _privacy(view: ManifestView) -> str:
    privacy = view.privacy
    if privacy is None:
        return "not stated"
    if privacy.mechanism == "none" or privacy.epsilon is None or privacy.delta is None:
        return "none: no differential privacy is claimed"
    return f"{privacy.mechanism}, epsilon {privacy.epsilon:.3f} at delta {privacy.delta:.2e}"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _table() -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
