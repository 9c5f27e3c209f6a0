"""`tensafe swap`: ask for a swap, approve or reject one, take one back, read the log."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tensafe.cli.slot import AsJson, whoami

if TYPE_CHECKING:
    from tensafe.gate.approval import Verdict
    from tensafe.gate.swap_records import SwapRecord
    from tensafe.tgsp.keys import KeyPair

GATE_SAID_NO, NOT_VERIFIED = 3, 4
SwapId = Annotated[str, typer.Argument(help="Id of the swap.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
By = Annotated[str | None, typer.Option(help="Who asks, for the record.")]
KeyName = Annotated[str | None, typer.Option("--key", help="Your signing key [the only one].")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="File with the passphrase, mode 0600 [else TENSAFE_KEY_PASSPHRASE, or ask]."),
]

EPILOG_REQUEST = """
Exit codes: 0 applied or waiting for a human, 3 not let in (there is an incident).

Examples:

  tensafe swap request support support-2.tgsp --reason "weak spots of May"

  tensafe swap request desk billing.tgsp travel.tgsp --kind gated
"""
EPILOG_LOG = """
Exit codes with --verify: 0 whole, 4 tampered with or cut off.

Example:

  tensafe swap log --verify --head 3f9c...
"""

swap_app = typer.Typer(
    help="Swaps of live slots: gate, red team, approval, rollback, log.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    app.add_typer(swap_app, name="swap")


@swap_app.command(epilog=EPILOG_REQUEST)
def request(
    slot: Annotated[str, typer.Argument(help="The live slot.")],
    files: Annotated[
        list[Path], typer.Argument(help="Packages: one, or a set.", exists=True, dir_okay=False)
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="linear, gated (a router picks one) or composed [by their number]."),
    ] = None,
    otherwise: Annotated[
        str, typer.Option(help="Who answers what no member is for: first (package) or base.")
    ] = "first",
    reason: Reason = "",
    by: By = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Don't wait for gate and red team.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a swap: load gate, red team, then approval."""
    from tensafe.errors import UsageError
    from tensafe.gate.swap import request_swap

    if kind not in (None, "linear", "gated", "composed") or otherwise not in ("first", "base"):
        raise UsageError("--kind is linear, gated or composed, and --otherwise is first or base")
    record = request_swap(
        slot, files, by=by or whoami(), reason=reason, kind=kind, otherwise=otherwise,
        timeout_s=0.0 if no_wait else None,
    )  # fmt: skip
    _end(record, as_json=as_json)


@swap_app.command()
def status(
    swap_id: Annotated[str | None, typer.Argument(help="Id of a swap [all].")] = None,
    slot: Annotated[str | None, typer.Option(help="Swaps of one slot alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where swaps stand."""
    from tensafe.gate.swap import find_host

    host = find_host()
    if swap_id is not None:
        record = host.status(swap_id)
        if as_json:
            print(json.dumps(record.model_dump(mode="json"), indent=2))
        else:
            _print(record)
        return
    records = host.swaps(slot)
    if as_json:
        print(json.dumps([record.model_dump(mode="json") for record in records], indent=2))
        return
    for record in records:
        print(
            f"{record.id}  {record.slot:<16} {record.action:<8} {record.state:<17} "
            f"{record.from_digest[:8]} -> {record.to_digest[:8] or '?'}  {record.requested_by}"
        )


@swap_app.command()
def approve(
    swap_id: SwapId,
    key: KeyName = None,
    reason: Reason = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Say yes to a swap that waits for a human; it takes effect at once."""
    _decide(swap_id, "approve", key, reason, passphrase_file, as_json=as_json)


@swap_app.command()
def reject(
    swap_id: SwapId,
    key: KeyName = None,
    reason: Reason = "",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Say no to a swap that waits for a human."""
    _decide(swap_id, "reject", key, reason, passphrase_file, as_json=as_json)


@swap_app.command()
def rollback(
    slot: Annotated[str, typer.Argument(help="The live slot.")],
    reason: Reason = "",
    by: By = None,
    key: KeyName = None,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Go back to what the slot answered with before its last swap."""
    from tensafe.gate.approval import sign_approval
    from tensafe.gate.swap import find_host

    host = find_host()
    record = host.roll_back(slot, by=by or whoami(), reason=reason)
    if record.state == "awaiting_approval":
        print(f"{record.id}: a human has to sign this rollback", file=sys.stderr)
        document = sign_approval(_signer(key, passphrase_file), record, "approve", reason)
        record = host.decide(record.id, document)
    _end(record, as_json=as_json)


@swap_app.command()
def incidents(as_json: AsJson = False) -> None:
    """List what was blocked or taken back."""
    from tensafe.gate.incident import read_incident
    from tensafe.gate.swap_host import swaps_home
    from tensafe.gate.swap_store import SwapStore

    store = SwapStore(swaps_home())
    found = [read_incident(store, name) for name in store.incidents()]
    if as_json:
        print(json.dumps([incident.model_dump(mode="json") for incident in found], indent=2))
        return
    for incident in found:
        print(f"{incident.id}  {incident.summary}")


@swap_app.command()
def incident(
    incident_id: Annotated[str, typer.Argument(help="Id of the incident.")],
    as_json: AsJson = False,
) -> None:
    """Show one incident: what said no, the evidence, what to do, and where its page is."""
    from tensafe.gate.incident import read_incident
    from tensafe.gate.swap_host import swaps_home
    from tensafe.gate.swap_store import SwapStore
    from tensafe.tgsp.text import one_line

    store = SwapStore(swaps_home())
    found = read_incident(store, incident_id)
    if as_json:
        print(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    print(found.summary)
    for failure in found.failures:
        print(f"  {failure.stage}, {one_line(failure.check)}: {failure.reason}")
    print("What to do:")
    for advice in found.what_to_do:
        print(f"  {advice}")
    print(f"page {store.incident_folder(incident_id) / 'incident.html'}")


@swap_app.command()
def reproduce(swap_id: SwapId, as_json: AsJson = False) -> None:
    """Examine a decided swap again from what was kept, and compare."""
    from tensafe.gate.swap import find_host

    told = find_host().reproduce(swap_id)
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        for name in ("gate", "red_team"):
            if name in told:
                print(f"{name}: {_said(told[name]['then'])} then, {_said(told[name]['now'])} now")
        if "figures" in told:
            print(f"largest difference of a figure: {told['figures']['largest_gap']:.3g}")
    sys.exit(0 if told["same_verdict"] else NOT_VERIFIED)


@swap_app.command(epilog=EPILOG_LOG)
def log(
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain instead of showing it.")
    ] = False,
    head: Annotated[
        str | None, typer.Option(help="A head that was noted elsewhere; has to stand in it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or verify the audit log; needs no running host."""
    from tensafe.gate.audit_log import read_log, verify_log
    from tensafe.gate.swap_host import swaps_home

    home = swaps_home()
    if not verify and head is None:
        for entry in read_log(home):
            line = json.dumps(entry.facts, sort_keys=True)
            print(
                json.dumps(vars(entry))
                if as_json
                else f"{entry.sequence:>5} {entry.at} {entry.event:<18} {line[:160]}"
            )
        return
    check = verify_log(home, expected_head=head)
    if as_json:
        print(json.dumps({**vars(check), "whole": check.is_whole}, indent=2))
    else:
        for fault in check.faults:
            print(f"FAULT {fault}")
        state = "whole" if check.is_whole else "NOT WHOLE"
        print(f"{state}: {check.entries} entries, head {check.head}")
    sys.exit(0 if check.is_whole else NOT_VERIFIED)


def _decide(
    swap_id: str,
    verdict: Verdict,
    key: str | None,
    reason: str,
    passphrase_file: Path | None,
    *,
    as_json: bool,
) -> None:
    from tensafe.errors import UsageError
    from tensafe.gate.approval import sign_approval
    from tensafe.gate.swap import find_host

    host = find_host()
    record = host.status(swap_id)
    if record.state != "awaiting_approval":
        raise UsageError(f"swap {swap_id} is {record.state}: it waits for no approval")
    _print(record, to_stderr=True)
    document = sign_approval(_signer(key, passphrase_file), record, verdict, reason)
    record = host.decide(swap_id, document)
    if verdict == "reject" and record.state == "rejected":
        print(json.dumps(record.model_dump(mode="json"), indent=2) if as_json else "rejected")
        return
    _end(record, as_json=as_json)


def _signer(key: str | None, passphrase_file: Path | None) -> KeyPair:
    from tensafe.errors import KeyStoreError
    from tensafe.tgsp.keystore import KeyStore
    from tensafe.tgsp.passphrase import passphrase_source

    store = KeyStore()
    known = [public.identity.name for public in store.identities()]
    if key is None and len(known) != 1:
        raise KeyStoreError(
            f"{'several signing keys' if known else 'no signing key'} here"
            f"{' (' + ', '.join(known) + ')' if known else ''}: name one with --key"
        )
    return store.unlock(key or known[0], passphrase_source(passphrase_file)(False))


def _end(record: SwapRecord, *, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps(record.model_dump(mode="json"), indent=2))
    else:
        _print(record)
    is_fine = record.state in ("applied", "awaiting_approval", "requested", "approved")
    sys.exit(0 if is_fine else GATE_SAID_NO)


def _print(record: SwapRecord, *, to_stderr: bool = False) -> None:
    out = sys.stderr if to_stderr else sys.stdout
    print(f"{record.action} {record.id} of slot {record.slot}: {record.state}", file=out)
    print(
        f"  {record.from_digest[:16]} -> {record.to_digest[:16] or '?'} ({record.kind})", file=out
    )
    for name in ("improvement", "improvement_p", "safety_regressions"):
        if name in record.figures:
            print(f"  {name} {record.figures[name]:.4g}", file=out)
    if record.decision is not None:
        print(f"  {record.decision.verdict} by {record.decision.decided_by}", file=out)
    for reason in record.reasons:
        print(f"  {reason}", file=out)
    if record.state == "awaiting_approval":
        print(f"  waits until {record.expires_at}: tensafe swap approve {record.id}", file=out)
    if record.incident:
        print(f"  incident {record.incident}: tensafe swap incident {record.incident}", file=out)


def _said(verdict: bool) -> str:
    return "passed" if verdict else "failed"
