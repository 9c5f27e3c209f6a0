"""The audit log: whatever is done to its files afterwards shows."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tensafe.errors import DataError, VerificationError
from tensafe.gate.audit_log import GENESIS, HEAD_NAME, LOG_NAME, AuditLog, read_log, verify_log


def filled(folder: Path, count: int = 5) -> AuditLog:
    log = AuditLog(folder)
    for number in range(count):
        log.append("thing", {"number": number, "text": "ümlaut \u202e"})
    return log


def test_entries_are_chained_and_verify(tmp_path: Path) -> None:
    log = filled(tmp_path)
    entries = log.entries()
    assert [entry.sequence for entry in entries] == list(range(5))
    assert entries[0].previous == GENESIS
    assert all(b.previous == a.hash for a, b in pairwise(entries))
    check = verify_log(tmp_path, expected_head=entries[2].hash)
    assert (check.is_whole, check.entries, check.head) == (True, 5, entries[-1].hash)


def edit(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"number":1', b'"number":7'), *lines[2:]]


def rehash(lines: list[bytes]) -> list[bytes]:
    """An edit with its own hash made right again."""
    from tensafe.tgsp.canonical import canonical_json, sha256_hex

    body = json.loads(lines[1])
    body["facts"]["number"] = 7
    body.pop("hash")
    return [lines[0], canonical_json({**body, "hash": sha256_hex(canonical_json(body))}) + b"\n",
            *lines[2:]]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        edit,
        rehash,
        lambda lines: lines[:2] + lines[3:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: lines[:-1],
        lambda lines: [],
        lambda lines: [*lines[:-1], lines[-1][:-30]],
        lambda lines: [line.replace(b'":', b'": ') for line in lines],
    ],
    ids=["edited", "rehashed", "removed", "swapped", "doubled", "shortened", "emptied", "torn",
         "respelt"],
)  # fmt: skip
def test_every_change_shows(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    filled(tmp_path)
    file = tmp_path / LOG_NAME
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    check = verify_log(tmp_path)
    assert not check.is_whole
    assert check.faults


def test_a_rewritten_log_is_found_by_a_head_that_was_noted(tmp_path: Path) -> None:
    noted = verify_log_head(filled(tmp_path / "first"))
    log = AuditLog(tmp_path / "second")
    for number in range(5):
        log.append("another thing", {"number": number})
    assert verify_log(tmp_path / "second").is_whole
    assert not verify_log(tmp_path / "second", expected_head=noted).is_whole


def verify_log_head(log: AuditLog) -> str:
    return log.entries()[-1].hash


def test_without_its_head_nobody_knows_how_long_it_was(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / HEAD_NAME).unlink()
    assert "missing" in verify_log(tmp_path).faults[0]


def test_a_line_that_a_crash_tore_is_cut_off_and_the_cut_is_logged(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / LOG_NAME).open("ab") as file:
        file.write(b'{"at":"2026')
    assert not verify_log(tmp_path).is_whole
    AuditLog(tmp_path)
    assert read_log(tmp_path)[-1].event == "cut_off"
    assert verify_log(tmp_path).is_whole


def test_a_crash_between_entry_and_head_is_no_fault(tmp_path: Path) -> None:
    log = filled(tmp_path)
    head = (tmp_path / HEAD_NAME).read_bytes()
    log.append("thing", {})
    (tmp_path / HEAD_NAME).write_bytes(head)
    assert verify_log(tmp_path).is_whole


@pytest.mark.parametrize("kept", [0, 1, 4])
@pytest.mark.parametrize("torn", [b"", b'{"at":"2026'])
def test_a_log_that_was_cut_off_takes_no_entry_that_would_hide_it(
    tmp_path: Path, kept: int, torn: bytes
) -> None:
    log = filled(tmp_path)
    file = tmp_path / LOG_NAME
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:kept]) + torn)
    with pytest.raises(VerificationError, match="cut off"):
        AuditLog(tmp_path).append("thing", {})
    with pytest.raises(VerificationError, match="cut off"):
        log.append("thing", {})
    assert not verify_log(tmp_path).is_whole


def test_a_head_that_the_disk_refused_several_times_is_no_fault(tmp_path: Path) -> None:
    log = filled(tmp_path)
    head = (tmp_path / HEAD_NAME).read_bytes()
    for _ in range(3):
        log.append("thing", {})
    (tmp_path / HEAD_NAME).write_bytes(head)
    log.append("thing", {})
    assert verify_log(tmp_path).is_whole


def test_no_log_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=LOG_NAME):
        verify_log(tmp_path)


def _write(folder: Path, count: int) -> None:
    log = AuditLog(folder)
    for number in range(count):
        log.append("thing", {"number": number})


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, 20)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    check = verify_log(tmp_path)
    assert (check.is_whole, check.entries) == (True, 61)
