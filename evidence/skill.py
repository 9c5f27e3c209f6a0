"""TG Tinker as a skill: valid documents, requests routed, and an MCP client that does it all.

`agentskills validate` has to accept TG Tinker's own skill and that of a package made here; of the
phrases that were committed before the router, at least 95% have to reach the right trigger with
the right slots, and at most 2% of ordinary requests may start anything; and an MCP client creates
an adapter (once cancelled, then going on), verifies, chooses, swaps it live, sees a tampered one
refused, and takes the swap back.

Phrases and ordinary requests were seen while the router was corrected (93% of the phrases at first
sight, as noted then; this can't repeat it), so their shares show that nothing was lost since, not
how it does on sentences it hasn't seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from evidence._mcp_drive import TOOLS, Desk, drive
from evidence._report import conclude
from tensafe.skills.skill_folder import TG_TINKER, own_skill, write_skill
from tensafe.skills.tg_tinker.triggers import route
from tensafe.tgsp.skill_doc import skill_name

ROOT = Path(__file__).resolve().parent.parent
PHRASES = ROOT / "tests" / "skills" / "trigger_phrases.tsv"
ORDINARY = ROOT / "tests" / "skills" / "ordinary_requests.txt"
TICKETS = ROOT / "examples" / "helpdesk" / "data" / "tickets.csv"


def routing() -> dict[str, Any]:
    """Shares of right and of false triggers; misses are printed."""
    right = total = 0
    for line in PHRASES.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        trigger, domain, path, phrase = line.split("\t")
        found = route(phrase)
        wanted = (trigger, domain or None, path.strip("'") or None)
        got = None if found is None else (found.trigger, found.domain, found.path)
        total += 1
        right += got == wanted
        if got != wanted:
            print(f"  missed: {phrase!r}: expected {wanted}, got {got}")
    ordinary = ORDINARY.read_text("utf-8").splitlines()
    false = [sentence for sentence in ordinary if route(sentence) is not None]
    for sentence in false:
        print(f"  false: {sentence!r}")
    print(
        f"{right} of {total} phrases routed; {len(false)} of {len(ordinary)} ordinary ones taken "
        "(lists that the router was corrected on)"
    )
    return {
        "lists_seen_while_correcting": True,
        "phrases": total,
        "routed": right / total,
        "ordinary": len(ordinary),
        "false": len(false) / len(ordinary),
    }


def is_valid_skill(document: str, name: str, out: Path) -> bool:
    """What `agentskills validate` says of the folder that `tensafe skill --out` writes."""
    program = shutil.which("agentskills", path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit('agentskills is absent: pip install -e ".[peer]" installs it')
    folder = write_skill(document, name, out).parent
    done = subprocess.run(
        [program, "validate", str(folder)], capture_output=True, text=True, check=False
    )
    print(done.stdout.strip() or done.stderr.strip())
    return done.returncode == 0


def main() -> None:
    """Route, validate, drive."""
    figures: dict[str, Any] = {"routing": routing()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        desk = Desk(folder, TICKETS)
        host = desk.start_host()
        try:
            driven = anyio.run(drive, desk)
        finally:
            host.terminate()
            host.wait(30)
        document = driven.pop("skill")
        figures["skills_valid"] = [
            is_valid_skill(own_skill(), TG_TINKER, folder / "skills"),
            is_valid_skill(document, skill_name("helpdesk-tickets"), folder / "skills"),
        ]
    print(json.dumps(driven, indent=2))
    figures["mcp"] = driven
    went_on = driven["cancelled_after"] <= driven["resumed_at"] <= driven["cancelled_after"] + 3
    holds = (
        figures["routing"]["routed"] >= 0.95
        and figures["routing"]["false"] <= 0.02
        and all(figures["skills_valid"])
        and set(driven["tools"]) == TOOLS
        and went_on
        and driven["verdict"] == "trusted"
        and driven["chosen"]
        and (driven["swap"], driven["tampered_swap"]) == ("applied", "rejected")
        and driven["rolled_back"] == "applied"
        and driven["error_told"]
    )
    conclude("skill", figures, holds=holds)


if __name__ == "__main__":
    main()
