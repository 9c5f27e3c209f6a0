"""A `Dataset` as a folder: `train.jsonl` and `test.jsonl` in OpenAI's layout, and `card.json`.

The card is written last and names the digests of both sides, so a folder that was not finished,
or was changed afterwards, is refused when it is read.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, cast

from tensafe.data.records import CurationReport, Dataset, Example, ExampleKind, Message, Unreadable
from tensafe.data.stored import ExampleSpill, StoredExamples, side_of
from tensafe.errors import DataError

CARD_VERSION = 1
_SIDES = ("train", "test")


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes the data set; each file appears whole or not at all."""
    from tensafe.files import atomic_path, write_json

    folder.mkdir(parents=True, exist_ok=True)
    for side, examples in (("train", dataset.train), ("test", dataset.test)):
        with (
            atomic_path(folder / f"{side}.jsonl", mode=0o644) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as lines,
        ):
            lines.writelines(map(_line, examples))
    write_json(folder / "card.json", dataset_card(dataset))


def dataset_card(dataset: Dataset) -> dict[str, Any]:
    """What the data set is made of, in JSON; holds no text of the examples."""
    return {
        "version": CARD_VERSION,
        "train": {"examples": len(dataset.train), "digest": dataset.train_digest},
        "test": {"examples": len(dataset.test), "digest": dataset.test_digest},
        "kinds": dict(Counter(e.kind for e in chain(dataset.train, dataset.test))),
        "report": asdict(dataset.report),
    }


def read_dataset(folder: Path) -> Dataset:
    """The data set that `write_dataset` left in `folder`.

    Raises:
        DataError: a file is missing, is not what was written, or fails its digest.
    """
    card = _card(folder)
    train, test = (_examples(folder / f"{side}.jsonl") for side in _SIDES)
    dataset = Dataset(train, test, _report(folder, card))
    found = (dataset.train_digest, dataset.test_digest)
    for side, digest in zip(_SIDES, found, strict=True):
        if digest != card.get(side, {}).get("digest"):
            raise DataError(
                f"{folder / side}.jsonl: its content is not what card.json says (digest "
                f"{digest[:16]}); it was changed or only half written, so curate the data again"
            )
    return dataset


def _line(example: Example) -> str:
    record = {
        "messages": example.messages,
        "kind": example.kind,
        "source": example.source,
        "place": example.place,
        "group": example.group,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def _card(folder: Path) -> dict[str, Any]:
    path = folder / "card.json"
    try:
        card = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; {folder} is not a finished data set, so curate it again"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); curate the data again") from error
    if card.get("version") != CARD_VERSION:
        raise DataError(
            f"{path}: version {card.get('version')!r}, expected {CARD_VERSION}; "
            "read it with the release that wrote it, or curate the data again"
        )
    return card


def _report(folder: Path, card: dict[str, Any]) -> CurationReport:
    fields = cast("dict[str, Any]", card.get("report", {}))
    try:
        return CurationReport(
            files_read=fields["files_read"],
            bytes_read=fields["bytes_read"],
            kept_by_source=fields["kept_by_source"],
            mappings=fields["mappings"],
            dropped=fields["dropped"],
            unreadable=tuple(Unreadable(**part) for part in fields["unreadable"]),
            notes=tuple(fields["notes"]),
            pii=fields.get("pii", {}),
            is_redacted=fields.get("is_redacted", False),
        )
    except (TypeError, KeyError) as error:
        raise DataError(f"{folder / 'card.json'}: {error}; curate the data again") from error


def _examples(path: Path) -> tuple[Example, ...] | StoredExamples:
    spill, numbers, digests = ExampleSpill(), array("q"), bytearray()
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                example = _example(path, number, line)
                numbers.append(spill.append(example))
                digests += bytes.fromhex(example.digest)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; curate the data again") from error
    return side_of(spill, numbers, bytes(digests))


def _example(path: Path, number: int, line: str) -> Example:
    try:
        record = cast("dict[str, Any]", json.loads(line))
        messages = tuple(
            Message(role=turn["role"], content=turn["content"]) for turn in record["messages"]
        )
        kind = cast("ExampleKind", record["kind"])
        return Example(messages, record["source"], record["place"], record["group"], kind)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: line {number}: {error}; curate the data again") from error
