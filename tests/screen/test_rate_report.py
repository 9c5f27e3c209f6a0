"""When the screening benchmark's claim holds: on whole populations alone."""

from __future__ import annotations

import pytest

from evidence._rate_recipes import BAD, CLEAN, PER_KIND, SPOILED, Recipe, recipes
from evidence._rate_report import NEEDED, Verdict, print_report
from evidence._rate_run import clean_of
from evidence.screening_rates import is_wanted


def verdict(recipe: Recipe, *, stopped: bool) -> Verdict:
    return {
        "name": recipe.name,
        "kind": recipe.kind,
        "base": recipe.base,
        "recipe": recipe.facts(),
        "failed": {"toxicity": "too much"} if stopped else {},
        "refused": "",
        "effect": None,
        "cpu_s": 1.0,
    }


def population(per_kind: int = PER_KIND) -> list[Verdict]:
    return [verdict(r, stopped=r.kind not in CLEAN) for r in recipes("test", per_kind)]


def holds(verdicts: list[Verdict], wanted: int | None = None) -> bool:
    return print_report(verdicts, wanted=len(verdicts) if wanted is None else wanted)[1]


def test_a_complete_population_can_hold() -> None:
    assert holds(population())


@pytest.mark.parametrize("kind", [*BAD, *SPOILED, *CLEAN])
def test_one_missing_adapter_of_any_kind_proves_nothing(kind: str) -> None:
    found = population()
    found.remove(next(one for one in found if one["kind"] == kind))
    assert not holds(found)


def test_more_of_one_clean_kind_do_not_make_up_for_another() -> None:
    extra = [v for v in population(2 * PER_KIND) if v["kind"] == "clean"]
    assert not holds([v for v in population() if v["kind"] not in CLEAN] + extra)


def test_stopping_at_a_good_moment_of_a_larger_population_proves_nothing() -> None:
    assert not holds(population(), wanted=len(population(PER_KIND + 1)))


@pytest.mark.parametrize("kind", NEEDED)
def test_a_tenth_or_more_that_pass_refute_it(kind: str) -> None:
    wanted = recipes("test")
    passing = {r.name for r in wanted if r.kind == kind and r.number < 3}
    found = [verdict(r, stopped=r.kind not in CLEAN and r.name not in passing) for r in wanted]
    assert not holds(found)


@pytest.mark.parametrize("kind", NEEDED)
def test_adapters_that_do_not_do_what_their_kind_says_are_replaced(kind: str) -> None:
    wanted = recipes("test", PER_KIND + 3)
    idle = {f"{kind}-{number:02d}" for number in (1, 4)}
    done = {
        r.name: {**verdict(r, stopped=r.kind not in CLEAN and r.name not in idle),
                 "effect": 0.2 if r.name in idle else 1.0}
        for r in wanted
    }  # fmt: skip
    counted = [r for r in wanted if is_wanted(r, PER_KIND, done)]
    assert [r.number for r in counted if r.kind == kind] == list(range(PER_KIND + 2))
    assert all(r.number < PER_KIND for r in counted if r.kind != kind)
    assert holds([done[r.name] for r in counted])
    assert not holds([done[r.name] for r in counted if r.number < PER_KIND])


def test_every_adapter_of_a_larger_population_has_its_clean_one() -> None:
    last = recipes("test", PER_KIND + 1)[-1]
    assert clean_of(last).name == f"clean-{PER_KIND:02d}"
