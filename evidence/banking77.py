"""Real data: 77 intents public, seven departments and 77 intents at epsilon 8, messy files.

Must hold: 77 intents without privacy >= 0.85 in under 20 minutes; seven departments at epsilon 8
>= 0.80 in under 20 minutes; the 77 intents at epsilon 8 print their score and, below 0.80, exit 3
without a package and with advice; a folder of mixed real files is read whole.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from evidence import _mixed_folder
from evidence._report import conclude
from evidence._train import Trained, environment, shared_data, tensafe_train

LIMIT_S = 20 * 60


def figures_of(trained: Trained) -> dict[str, Any]:
    """What one run came to."""
    outcome = trained.outcome
    return {
        "exit": trained.exit_code,
        "seconds": trained.seconds,
        **{k: outcome.get(k) for k in ("score", "interval", "base_score", "epsilon", "test_items")},
        "package": trained.package_exists,
    }


def main() -> None:
    """Three trainings and one reading, judged."""
    shared = shared_data()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environ = environment(home)
        intents = str(shared / "tables" / "banking77" / "train.csv")
        departments = str(shared / "tables" / "banking7" / "train.csv")
        seven = tensafe_train(home / "seven", environ, "--data", departments)
        many = tensafe_train(home / "many", environ, "--data", intents)
        # Last: a release without privacy leaves its records nothing for a private one.
        public = tensafe_train(home / "public", environ, "--data", intents, "--no-dp")
        advice = many.gates.get("qa_verify", {}).get("advice", [])
        for line in advice:
            print("advice:", line)
        mixed = _mixed_folder.run(shared)
    refused_honestly = many.exit_code == 3 and not many.package_exists and bool(advice)
    figures = {
        "intents_public": figures_of(public),
        "departments_private": figures_of(seven),
        "intents_private": {**figures_of(many), "advice": len(advice)},
        "mixed_folder": mixed,
    }
    holds = (
        public.exit_code == 0
        and public.outcome["score"] >= 0.85
        and public.seconds < LIMIT_S
        and seven.exit_code == 0
        and seven.outcome["score"] >= 0.80
        and seven.seconds < LIMIT_S
        and (many.exit_code == 0 or refused_honestly)
        and bool(mixed["holds"])
    )
    conclude("banking77", figures, holds=holds)


if __name__ == "__main__":
    main()
