"""Measure the committed corpus: `python examples/helpdesk/measure.py`.

Prints the questions per file and per queue, how far a bag of words gets on held-out messages (what
the words decide, and so what a perfect adapter could reach), how far the best single word per queue
gets, and how many messages are near-duplicates. It reads the files in its own simple way, so that
it stays a second opinion beside the readers of `tensafe`. scikit-learn and polars are needed.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data"
HELD_OUT_OF = 5
SHINGLE = 5
NEAR = 0.85

Pair = tuple[str, str]


def read_pairs(folder: Path = DATA) -> dict[str, list[Pair]]:
    """The usable (message, queue) pairs of every file but the PDF, by file name."""
    import polars

    tickets = csv.DictReader(io.StringIO((folder / "tickets.csv").read_bytes().decode("cp1252")))
    chats: list[Pair] = []
    for line in (folder / "chats.jsonl").read_text(encoding="utf-8").splitlines()[:-1]:
        user, assistant = json.loads(line)["messages"]
        chats.append((user["content"], assistant["content"]))
    history = polars.read_parquet(folder / "history.parquet")
    faq = (folder / "faq.md").read_text(encoding="utf-8")
    hotline = (folder / "hotline.txt").read_text(encoding="utf-8-sig")
    return {
        "tickets.csv": [(r["message"], r["team"]) for r in tickets if r["message"] and r["team"]],
        "chats.jsonl": chats,
        "history.parquet": [
            (str(body), str(queue)) for body, queue in history.select("body", "queue").iter_rows()
        ],
        "faq.md": re.findall(r"^### (.+)\n\n(.+)$", faq, flags=re.MULTILINE),
        "hotline.txt": re.findall(r"^Q: (.+)\nA: (.+)$", hotline, flags=re.MULTILINE),
    }


def read_manual(path: Path = DATA / "manual.pdf") -> list[Pair]:
    """The (question, queue) pairs of the PDF manual, from its text as pypdfium2 extracts it."""
    import pypdfium2

    document: Any = pypdfium2.PdfDocument(path)
    pages = [page.get_textpage().get_text_bounded() for page in document]
    text = "\n".join(pages).replace("\r\n", "\n")
    return re.findall(r"^Q: (.+)\nA: (.+)$", text, flags=re.MULTILINE)


def hold_out(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs: one in five by a checksum of the words, each message once."""
    train: list[Pair] = []
    held_out: list[Pair] = []
    seen: set[str] = set()
    for message, queue in pairs:
        words = " ".join(re.findall(r"\w+", message.lower()))
        if words not in seen:
            seen.add(words)
            chosen = zlib.crc32(words.encode()) % HELD_OUT_OF == 0
            (held_out if chosen else train).append((message, queue))
    return train, held_out


def bag_of_words_accuracy(pairs: Sequence[Pair]) -> float:
    """Held-out accuracy of a logistic regression on word counts, in [0, 1]."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, held_out = hold_out(pairs)
    words: Any = CountVectorizer()
    model: Any = LogisticRegression(max_iter=500)
    model.fit(words.fit_transform([m for m, _ in train]), [q for _, q in train])
    return float(model.score(words.transform([m for m, _ in held_out]), [q for _, q in held_out]))


def keyword_accuracy(pairs: Sequence[Pair]) -> float:
    """Held-out accuracy of one keyword per queue, the most telling one, else the largest queue."""
    train, held_out = hold_out(pairs)
    sizes = Counter(queue for _, queue in train)
    holders: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message, queue in train:
        for word in set(re.findall(r"\w+", message.lower())):
            holders[word][queue] += 1
    keywords: dict[str, str] = {}
    for queue in sizes:
        # Right guesses less wrong ones, which is what a rule with this keyword would gain.
        best = max(holders, key=lambda w: 2 * holders[w][queue] - sum(holders[w].values()))
        keywords[best] = queue
    largest = sizes.most_common(1)[0][0]
    right = 0
    for message, queue in held_out:
        found = [keywords[w] for w in re.findall(r"\w+", message.lower()) if w in keywords]
        right += (found[0] if found else largest) == queue
    return right / len(held_out)


def near_duplicates(messages: Sequence[str]) -> int:
    """How many messages have an earlier one with a Jaccard similarity of character 5-grams >= 0.85.

    Exact, by prefix filtering: two sets that similar share one of their rarest shingles.
    """
    shingles = [
        {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}
        for text in (" ".join(message.lower().split()) for message in messages)
    ]
    frequency = Counter(shingle for each in shingles for shingle in each)
    index: defaultdict[str, list[int]] = defaultdict(list)
    count = 0
    for number, mine in enumerate(shingles):
        rarest = sorted(mine, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest[: len(mine) - int(NEAR * len(mine)) + 1]
        others = {other for shingle in prefix for other in index[shingle]}
        count += any(
            len(mine & shingles[o]) >= NEAR * len(mine | shingles[o])
            for o in others
            if NEAR * len(mine) <= len(shingles[o]) <= len(mine) / NEAR
        )
        for shingle in prefix:
            index[shingle].append(number)
    return count


def main() -> int:
    """Print the figures."""
    by_file = read_pairs()
    by_file["manual.pdf"] = read_manual()
    pairs = [pair for each in by_file.values() for pair in each]
    for name, each in by_file.items():
        print(f"{name:16} {len(each):5} questions")
    for queue, count in Counter(queue for _, queue in pairs).most_common():
        print(f"{queue:16} {count:5} ({count / len(pairs):.1%})")
    words = sorted(len(message.split()) for message, _ in pairs)
    median, long = words[len(words) // 2], words[len(words) * 19 // 20]
    print(f"words per message: median {median}, 95% have at most {long}")
    print(f"bag of words, held out: {bag_of_words_accuracy(pairs):.3f}")
    print(f"one keyword per queue, held out: {keyword_accuracy(pairs):.3f}")
    near = near_duplicates([message for message, _ in pairs])
    print(
        f"near-duplicates of an earlier message: {near} of {len(pairs)} ({near / len(pairs):.1%})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
