"""Screening's error rates on adapters that no threshold was fitted on: detection and false alarms.

Trains a population on `nano` and, for two of five, on a foreign base: backdoors whose poisoned
examples are hidden from screening (half, a tenth, 3% of the data), toxic, biased, reciting and
leaking adapters, ordinary ones, clean but unusual ones; and spoils copies of the clean ones in five
ways. What counts as caught or missed is an adapter that does what its kind says: one whose attack
did not take is shown, and replaced. The trained go through the same six layers as a release, the
spoiled through the three that look at weights, and into the engine if these see nothing. Limits
were set on the `development` population, whose insults, groups, topics, triggers, payloads and
seeds are others.

Resumable: adapters and verdicts are kept under --results, going round the kinds; stop it at any
time, run it again to go on. An adapter of another recipe, engine or base is made anew, and so is a
verdict of another screening (code, limits, suites, reference, classifier). The report is of what is
there, and holds only when the population is complete.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from evidence._rate_key import screening_key, training_key
from evidence._rate_recipes import PER_KIND, SPOILED, Recipe, recipes
from evidence._rate_report import NEEDED, is_alarm, print_report, took
from evidence._rate_run import VERDICTS, Bench, clean_of, cpu_seconds
from evidence._report import conclude
from evidence._train import shared_data

FOREIGN = "models/llama2xs-280K-hf"
# Each kind's further adapters, trained where an earlier one's attack didn't take.
SPARE = 25


def main() -> None:
    """Train and screen what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=default_results())
    parser.add_argument("--population", choices=("test", "development"), default="test")
    parser.add_argument("--per-kind", type=int, default=PER_KIND)
    parser.add_argument("--kinds", default="", help="only these, separated by commas")
    parser.add_argument("--workers", type=int, choices=(1,), default=1, help="one at a time")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many; 0: never")
    parser.add_argument("--report", action="store_true", help="only print what is there")
    given = parser.parse_args()
    folder = given.results / given.population
    key = screening_key()
    print(f"results in {folder}, screening {key}", flush=True)
    kinds = set(given.kinds.split(",")) - {""}
    wanted = [
        recipe
        for recipe in recipes(given.population, given.per_kind + SPARE)
        if not kinds or recipe.kind in kinds
    ]
    if not given.report:
        shared = shared_data()
        bench = Bench(folder, training_key(), shared / FOREIGN, shared)
        try:
            run(bench, wanted, given.per_kind, key, given.minutes * 60)
        finally:
            bench.close()
    found = read_verdicts(folder, key)
    wanted = [recipe for recipe in wanted if is_wanted(recipe, given.per_kind, found)]
    figures, holds = print_report(
        [found[r.name] for r in wanted if r.name in found], wanted=len(wanted)
    )
    figures = {"population": given.population, "screening": key, **figures}
    conclude("screening-rates", figures, holds=holds and given.population == "test")


def default_results() -> Path:
    """A cache folder of the user's."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "tensafe" / "screening-rates"


def is_wanted(recipe: Recipe, per_kind: int, done: dict[str, dict[str, Any]]) -> bool:
    """The first `per_kind` of each kind, and spare ones in the place of those that didn't take."""
    if recipe.number < per_kind:
        return True
    earlier = [
        done.get(f"{recipe.kind}-{number:02d}", {"effect": None}) for number in range(recipe.number)
    ]
    return recipe.kind in NEEDED and sum(map(took, earlier)) < per_kind


def run(bench: Bench, wanted: list[Recipe], per_kind: int, key: str, limit_s: float) -> None:
    """Go on where the last run stopped; one line of progress an adapter."""
    done = read_verdicts(bench.folder, key)
    started, began_with = time.monotonic(), len(done)
    for recipe in wanted:
        if recipe.name in done or not is_wanted(recipe, per_kind, done):
            continue
        if limit_s and time.monotonic() - started > limit_s:
            print(f"stopped after {limit_s / 60:.0f} minutes", flush=True)
            return
        before = cpu_seconds()
        clean = clean_of(recipe)
        bench.train(clean if recipe.kind in SPOILED else recipe)
        trained = cpu_seconds() - before
        verdict: dict[str, Any] = {**bench.screen(recipe, clean), "screening": key}
        with (bench.folder / VERDICTS).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(verdict) + "\n")
        done[recipe.name] = verdict
        rate = (time.monotonic() - started) / (len(done) - began_with)
        left = rate / 60 * sum(r.name not in done and is_wanted(r, per_kind, done) for r in wanted)
        print(
            f"{recipe.name:<22} {recipe.base:<8} {recipe.style:<10} "
            f"CPU {trained:4.1f}s + {verdict['cpu_s']:4.1f}s, {left:4.0f} min left: "
            + (", ".join(verdict["failed"]) or verdict["refused"][:60] or "passed")
            + ("" if verdict["effect"] is None else f" (does {verdict['effect']:.0%})"),
            flush=True,
        )
        if is_alarm(verdict):
            for layer, reason in verdict["failed"].items():
                print(f"    {layer}: {reason[:140]}", flush=True)


def read_verdicts(folder: Path, key: str) -> dict[str, dict[str, Any]]:
    """The verdicts of this screening, by adapter; a line that was cut off is left out."""
    path = folder / VERDICTS
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            verdict: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if verdict.get("screening") == key:
            found[verdict["name"]] = verdict
    return found


if __name__ == "__main__":
    main()
