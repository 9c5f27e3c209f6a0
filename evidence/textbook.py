"""A textbook becomes an adapter: sensible pairs, learned; a teacher adds only grounded ones.

Must hold: the pairs of a real economics textbook are many and sensible (`_textbook_pairs`); an
adapter trained on them without privacy beats the base on the held-out fifth (paired test,
p < 0.01) and its report shows before and after; the path with `--teacher` runs against a real
chat endpoint on loopback, and every pair that it keeps is grounded in its passage.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from evidence import _textbook_pairs
from evidence._chat_server import serve_base
from evidence._report import conclude
from evidence._train import environment, shared_data, tensafe_train
from tensafe.curate import CurationConfig, Teacher, TeacherConfig, curate_dataset
from tensafe.curate.grounding import why_not_grounded

SHOWN = 10
# Two passes over short examples and 120 items keep it to minutes on one core.
TRAINING = ("--epochs", "2", "--max-length", "256", "--max-test-items", "120")
EXCERPT_CHARS = 24_000


def train_on(book: Path, home: Path) -> dict[str, Any]:
    """What training on the book's pairs came to, with ten answers before and after."""
    options = ("--data", str(book), "--no-dp", "--no-prose", *TRAINING)
    trained = tensafe_train(home / "book", environment(home), *options)
    report = home / "book" / "evaluation.json"
    if not report.exists():
        return {"exit": trained.exit_code, "seconds": trained.seconds, "is_better": False}
    evaluation: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    for item in evaluation["items"][:SHOWN]:
        print(f"\nQ       {item['prompt'][:200]}\nwanted  {item['reference'][:200]}")
        print(f"before  {item['base_answer'][:200]}  ({item['base_score']:.2f})")
        print(f"after   {item['answer'][:200]}  ({item['score']:.2f})")
    paired: dict[str, Any] = evaluation["paired"] or {
        "difference": 0.0,
        "p_value": 1.0,
        "method": None,
    }
    return {
        "exit": trained.exit_code,
        "seconds": trained.seconds,
        "items": len(evaluation["items"]),
        "score": evaluation["score"],
        "base_score": evaluation["base_score"],
        "difference": paired["difference"],
        "p_value": paired["p_value"],
        "test": paired["method"],
        "package": trained.package_exists,
        "shown": min(SHOWN, len(evaluation["items"])),
        "is_better": paired["difference"] > 0 and paired["p_value"] < 0.01,
    }


def teach_from(book: Path, home: Path) -> dict[str, Any]:
    """What a real but small model writes from a piece of the book, and what of it is kept."""
    excerpt = home / "excerpt.txt"
    excerpt.write_text(book.read_text(encoding="utf-8")[:EXCERPT_CHARS], encoding="utf-8")
    without = curate_dataset(excerpt)
    with serve_base() as (url, model), Teacher(TeacherConfig(url=url)) as teacher:
        dataset = curate_dataset(excerpt, CurationConfig(), teacher=teacher)
    examples = [*dataset.train, *dataset.test]
    passages = {e.group: "" for e in examples if e.kind == "text"}
    for example in examples:
        if example.kind == "text":
            passages[example.group] += "\n" + example.reference
    kept = [example for example in examples if ", written by " in example.place]
    grounded = [
        why_not_grounded(e.prompt[-1]["content"], e.reference, passages.get(e.group, "")) is None
        for e in kept
    ]
    dropped = {k: n for k, n in dataset.report.dropped.items() if k.startswith("teacher's")}
    for note in dataset.report.notes:
        print(note)
    return {
        "model": model,
        "passages": sum(example.kind == "text" for example in (*without.train, *without.test)),
        "kept": len(kept),
        "dropped": dropped,
        "all_grounded": all(grounded),
        "holds": all(grounded) and bool(kept or dropped),
    }


def main() -> None:
    """Pairs, training and teacher, judged."""
    book = shared_data() / "text" / "openstax" / "economics.txt"
    pairs = _textbook_pairs.run()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        training = train_on(book, home)
        taught = teach_from(book, home)
    figures = {"pairs": pairs, "training": training, "teacher": taught}
    holds = (
        bool(pairs["holds"])
        and training["exit"] in (0, 3)
        and bool(training["is_better"])
        and training["shown"] == SHOWN
        and bool(taught["holds"])
    )
    conclude("textbook", figures, holds=holds)


if __name__ == "__main__":
    main()
