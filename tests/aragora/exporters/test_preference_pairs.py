"""DPO rows: same prompt, the outcome's order, and nothing that teaches length or a key."""

from __future__ import annotations

import json

import pytest
from held_debates import Speaking, choosing, hold, rate, user, words

from aragora.debate import CheckVerifier, KeyVerifier
from aragora.errors import UsageError
from aragora.memory import Memory
from aragora.training import DPOExporter
from aragora.training.exporters.contrast import lacks_contrast

LONG = "Water the garden in the evening, because less of it is lost to the sun and the wind."
OTHER = "Choose the morning: leaves that stay wet all night catch mildew and other diseases."


def pairs(memory: Memory, **options):
    return DPOExporter(memory).export(**{"min_elo_difference": 0, **options})


def test_the_answer_that_won_is_chosen_over_each_that_lost(memory: Memory) -> None:
    stored = hold(memory, "Which colour?", [["blue"], ["red"], ["green"]], winner="B")
    rows = pairs(memory)
    assert [(words(r, "chosen"), words(r, "rejected")) for r in rows] == [
        ("red", "blue"),
        ("red", "green"),
    ]
    assert rows[0]["prompt"] == [user("Which colour?")]
    source = rows[0]["provenance"]
    assert source["debate_id"] == stored.debate.id
    by_id = {str(m.id): m for m in stored.messages}
    assert [by_id[t["id"]].text for t in source["texts"]] == ["red", "blue"]
    assert [t["agent"] for t in source["texts"]] == ["bob", "ann"]


def test_pairs_stand_in_the_order_of_seats_whoever_answered_first(memory: Memory) -> None:
    slow = Speaking("ann", ["blue"], delay_s=0.05)
    others = [slow, Speaking("bob", ["red"]), Speaking("cem", ["green"])]
    stored = hold(memory, "Which colour?", [], winner="B", others=others)
    arrived = sorted((m for m in stored.messages if m.phase == "propose"), key=lambda m: m.id)
    assert arrived[-1].text == "blue"
    assert [words(r, "rejected") for r in pairs(memory)] == ["blue", "green"]


def test_a_proposal_whose_author_came_round_is_still_the_rejected_one(memory: Memory) -> None:
    hold(
        memory, "Which colour?", [["blue", "blue"], ["red", "blue"]], winner="A",
        protocol="judge", revise=True, critique=True,
    )  # fmt: skip
    (row,) = pairs(memory)
    assert (words(row, "chosen"), words(row, "rejected")) == ("blue", "red")


def test_an_answer_that_came_up_later_has_no_pair_to_the_same_prompt(memory: Memory) -> None:
    hold(
        memory, "Which colour?", [["blue", "pink"], ["red", "red"]], winner="A", revise=True,
        critique=True,
    )  # fmt: skip
    rows = pairs(memory)
    assert not rows
    assert rows.report.left_out["the winning answer came later"] == 1


def test_ties_and_open_debates_give_nothing_and_are_counted(memory: Memory) -> None:
    hold(memory, "Which colour?", [["blue"], ["blue"]])
    hold(memory, "Which size?", [["small"], ["large"]], winner="no letter")
    rows = pairs(memory)
    assert not rows
    assert rows.report.left_out["a tie: no answer lost"] == 1
    assert rows.report.left_out["no consensus"] == 1
    assert dict(rows.report.funnel)["with a consensus"] == 1


def test_a_stance_is_another_prompt(memory: Memory) -> None:
    hold(memory, "Which colour?", [["blue"], ["red"]], devils_advocate=True)
    rows = pairs(memory)
    assert not rows
    assert rows.report.left_out["no two answers to the same prompt"] == 1


def test_the_rating_difference_is_the_winners_lead(memory: Memory) -> None:
    rate(memory, ann=1650.0, bob=1500.0)
    hold(memory, "Which colour?", [["blue"], ["red"]], winner="A")
    hold(memory, "Which size?", [["small"], ["large"]], winner="B")
    rows = DPOExporter(memory).export()
    assert [words(r, "chosen") for r in rows] == ["blue"]
    assert rows[0]["provenance"]["elo_difference"] == pytest.approx(150.0)
    assert rows.report.left_out["rating difference below 100"] == 1
    assert len(pairs(memory)) == 2


def test_unrated_agents_have_no_clear_difference(memory: Memory) -> None:
    hold(memory, "Which colour?", [["blue"], ["red"]])
    rows = DPOExporter(memory).export()
    assert not rows
    assert rows.report.left_out["a rating isn't known"] == 1


def prime(answer: str) -> float:
    if answer == "many":
        raise ValueError("can't be checked")
    return float(answer in ("eleven", "thirteen"))


def test_a_verifier_rejects_what_it_found_worse_and_nothing_else(memory: Memory) -> None:
    rate(memory, domain="reading", ann=1700.0, bob=1450.0, cem=1450.0, dan=1450.0)
    said = [["eleven"], ["thirteen", "eleven"], ["many", "eleven"], ["twelve", "eleven"]]
    hold(
        memory, "A prime above ten?", said, protocol="voting", consensus="verifier", revise=True,
        verifier=CheckVerifier(prime),
    )  # fmt: skip
    for source, other in (("head_to_head", "domain_specific"), ("domain", "head_to_head")):
        rows = pairs(memory, **{f"include_{other}": False, "include_calibration": False})
        found = [(words(r, "chosen"), words(r, "rejected")) for r in rows]
        assert found == [("eleven", "twelve")]
        assert rows[0]["provenance"]["source"] == source
        left = rows.report.left_out
        assert left["the verifier did not find the other answer worse"] == 1
        assert left["an answer that the verifier could not check"] == 1


def test_what_a_key_decided_is_not_trained_on(memory: Memory) -> None:
    hold(
        memory, "Which colour?", [["blue"], ["red"]], split="none", verifier=KeyVerifier("blue"),
        protocol="voting", consensus="verifier", ballot="answers",
    )  # fmt: skip
    rows = pairs(memory)
    assert not rows
    assert rows.report.left_out["decided by an answer key"] == 1


def test_an_expert_whom_a_key_found_right_is_no_example(memory: Memory) -> None:
    rate(memory, domain="reading", ann=1700.0, bob=1450.0)
    hold(
        memory, "Which colour?", [["blue"], ["red"]], split="none", verifier=KeyVerifier("blue"),
        protocol="voting", consensus="verifier", ballot="answers",
    )  # fmt: skip
    rows = pairs(memory, include_head_to_head=False)
    assert not rows
    assert rows.report.left_out["decided by an answer key"] == 1


def test_held_out_debates_and_their_tasks_are_left_out(memory: Memory) -> None:
    hold(memory, "Which colour?", [["blue"], ["red"]], split="held_out")
    hold(memory, "Which colour", [["blue"], ["red"]])
    hold(memory, "Which size?", [["small"], ["large"]])
    rows = pairs(memory, include_domain_specific=False)
    assert [words(r, "chosen") for r in rows] == ["small"]
    assert rows.report.left_out["in a benchmark or held out"] == 1
    assert len(pairs(memory, splits=("held_out",))) == 1


def test_an_expert_is_preferred_where_the_debate_was_open(memory: Memory) -> None:
    rate(memory, domain="reading", ann=1700.0, bob=1450.0)
    hold(memory, "Which colour?", [["blue"], ["red"]], winner="no letter")
    hold(memory, "Which size?", [["small"], ["large"]], winner="B")
    rows = pairs(memory, min_elo_difference=200, include_head_to_head=False)
    assert [words(r, "chosen") for r in rows] == ["blue"]
    assert rows[0]["provenance"]["source"] == "domain"
    assert rows.report.left_out["the expert lost"] == 1


def test_the_better_calibrated_statement_is_chosen(memory: Memory) -> None:
    def critic(name: str, label: str, confidence: float) -> Speaking:
        written = json.dumps({"choice": label, "confidence": confidence})
        return Speaking(
            name, ["-"], written=written, role="critic", vote=choosing(label, confidence)
        )

    others = [critic("kim", "A", 0.9), critic("lee", "B", 0.95), critic("max", "A", 0.8)]
    hold(
        memory, "Which colour?", [["blue"], ["red"]], protocol="debate", critics_vote=True,
        others=others,
    )  # fmt: skip
    (row,) = pairs(memory, include_head_to_head=False, include_domain_specific=False)
    assert json.loads(words(row, "chosen")) == {"choice": "A", "confidence": 0.9}
    assert json.loads(words(row, "rejected")) == {"choice": "B", "confidence": 0.95}
    assert row["provenance"]["source"] == "calibration"


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        (LONG, OTHER, True),
        (LONG, LONG.upper(), False),
        (LONG, LONG.replace("evening", "evenings"), False),
        (LONG, f"{LONG} {OTHER}", False),
        (LONG, LONG[:50], False),
        ("12", "13", True),
        ("blue", "light blue", True),
    ],
)
def test_contrast(one: str, other: str, *, differs: bool) -> None:
    for left, right in ((one, other), (other, one)):
        reason = lacks_contrast(left, right, max_similarity=0.9, differ_in_answer=True)
        assert (reason is None) == differs


def test_an_unknown_option_is_named_with_those_that_there_are(memory: Memory) -> None:
    with pytest.raises(UsageError, match=r"min_elo: .*min_elo_difference"):
        DPOExporter(memory).export(min_elo=3)
    with pytest.raises(UsageError, match="until must be later"):
        DPOExporter(memory).export(since="2026-02-01", until="2026-01-01")
