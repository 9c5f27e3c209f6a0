"""Exporters: a million debates in bounded memory, real words only, and preferences that hold.

One: preference pairs of 1,000,000 synthetic debates and the first 200,000 conversations are
exported under 500 MB, against the same query by mapped objects all at once (of the first 20,000).
Two: every exported pair's texts and prompt stand in one stored debate word for word, in the
outcome's order, and none of what was planted to be left out is there. Three: see
`evidence._ukp_debates`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evidence import _ukp_debates
from evidence._report import conclude

DEBATES, MAX_RSS_MB = 1_000_000, 500


def in_child(part: str, database: Path, debates: int) -> dict[str, Any]:
    """Runs one part of `_export_work` in a process of its own, and prints what it came to."""
    command = [sys.executable, "-m", "evidence._export_work", part, str(database), str(debates)]
    environ = {**os.environ, "ARAGORA_HOME": str(database.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(part, json.dumps(figures), flush=True)
    return figures


def crowd(debates: int) -> tuple[dict[str, Any], bool]:
    """Parts one and two."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "crowd.sqlite3"
        parts = ("write", "dpo", "verify", "sft", "naive")
        figures = {part: in_child(part, database, debates) for part in parts}
    planted, dpo, verify = figures["write"]["planted"], figures["dpo"], figures["verify"]
    naive_mb_per_debate = figures["naive"]["peak_rss_mb"] / figures["naive"]["debates"]
    figures["naive_mb_at_full_size"] = round(naive_mb_per_debate * debates)
    holds = (
        dpo["peak_rss_mb"] < MAX_RSS_MB
        and figures["sft"]["peak_rss_mb"] < MAX_RSS_MB
        and figures["sft"]["exported"] > 0
        and 0 < dpo["exported"] == planted["pair"] == verify["checked"]
        and not verify["wrong"]
    )
    return figures, holds


def main() -> None:
    """All parts, judged."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--debates", type=int, default=DEBATES, help="Size of the database.")
    parser.add_argument("--only", choices=("crowd", "preference"), help="One half alone.")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    holds = True
    if given.only != "preference":
        figures["crowd"], is_sound = crowd(given.debates)
        holds = holds and is_sound
    if given.only != "crowd":
        figures["preference"], is_sound = _ukp_debates.preference()
        holds = holds and is_sound
    conclude("exporters", figures, holds=holds)


if __name__ == "__main__":
    main()
