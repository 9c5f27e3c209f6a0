"""A marketplace in a folder: what is published is found and pulled verified; what is wrong, not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from market_packages import Shelf, stranger

from tensafe.cli import main
from tensafe.cli.marketplace_option import with_value
from tensafe.errors import DataError, MarketplaceError, UsageError, VerificationError
from tensafe.marketplace import publish, pull, search, yank
from tensafe.tgsp import KeyPair


def test_published_found_and_pulled(shelf: Shelf, ada: KeyPair, tmp_path: Path) -> None:
    package = shelf.put(
        tmp_path, "support-routing", ada, description="Names the team for a message.",
        domain="customer support", score=0.91, epsilon=3.5, licence="Apache-2.0",
    )  # fmt: skip
    shelf_other = shelf.put(tmp_path, "invoices", ada, description="Reads an invoice's total.")
    done = publish(package)
    publish(shelf_other)
    assert (done.listing.version, done.is_new) == ("1", True)
    assert publish(package).is_new is False
    assert [hit.name for hit in search("which team gets this message")] == ["support-routing"]
    assert [hit.name for hit in search()] == ["invoices", "support-routing"]
    assert [hit.name for hit in search(max_epsilon=4, licence="apache-2.0")] == ["support-routing"]
    assert search(min_score=0.95) == []
    pulled = pull("support-routing", tmp_path / "got.tgsp")
    assert pulled.verification.is_trusted
    assert (tmp_path / "got.tgsp").read_bytes() == package.read_bytes()
    digest = done.listing.package_digest
    (tmp_path / "out").mkdir()
    assert pull(f"sha256:{digest}", tmp_path / "out").path.name == "support-routing-1.tgsp"


def test_versions_count_up_and_a_withdrawn_one_is_given_to_nobody_by_default(
    shelf: Shelf, ada: KeyPair, tmp_path: Path
) -> None:
    for score in (0.8, 0.9):
        publish(shelf.put(tmp_path, "sorter", ada, score=score))
    assert pull("sorter", tmp_path / "second.tgsp").listing.version == "2"
    yank("sorter@2", "wrong\nlabels")
    assert pull("sorter", tmp_path / "first.tgsp").listing.version == "1"
    with pytest.raises(MarketplaceError, match="was withdrawn: wrong labels"):
        pull("sorter@2", tmp_path / "no.tgsp")
    assert not (tmp_path / "no.tgsp").exists()
    assert pull("sorter@2", tmp_path / "yes.tgsp", allow_yanked=True).listing.yanked
    yank("sorter@1", "too")
    assert search("sorter") == []
    with pytest.raises(MarketplaceError, match="no package sorter"):
        pull("sorter", tmp_path / "no.tgsp")


def test_a_name_stays_with_its_first_key(shelf: Shelf, ada: KeyPair, tmp_path: Path) -> None:
    publish(shelf.put(tmp_path, "sorter", ada))
    with pytest.raises(MarketplaceError, match="belongs to the key"):
        publish(shelf.put(tmp_path, "sorter", stranger(), score=0.99))


def test_a_strangers_package_is_not_kept(shelf: Shelf, home: Path, tmp_path: Path) -> None:
    eve = stranger()
    publish(shelf.put(tmp_path, "sorter", eve))
    with pytest.raises(VerificationError, match="not in your trust store"):
        pull("sorter", tmp_path / "got.tgsp")
    assert not (tmp_path / "got.tgsp").exists()
    assert not list(tmp_path.glob(".*partial"))
    assert pull("sorter", tmp_path / "got.tgsp", trusted=False).verification.is_intact


def test_changed_bytes_are_not_kept(shelf: Shelf, ada: KeyPair, home: Path, tmp_path: Path) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    publish(package)
    stored = home / "marketplace" / "sorter" / "1.tgsp"
    data = bytearray(package.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    with pytest.raises(VerificationError, match="gave other bytes"):
        pull("sorter", tmp_path / "got.tgsp")
    # Whoever can change the package can change its listing too; the signatures are not theirs.
    import hashlib

    note = stored.with_suffix(".json")
    value = json.loads(note.read_bytes())
    value["listing"]["package_digest"] = hashlib.sha256(data).hexdigest()
    note.write_text(json.dumps(value))
    with pytest.raises(VerificationError, match="content has"):
        pull("sorter", tmp_path / "got.tgsp")
    with pytest.raises(VerificationError, match="is not published"):
        publish(stored, tmp_path / "elsewhere")
    assert not (tmp_path / "got.tgsp").exists()


def test_a_file_that_is_there_is_not_replaced(shelf: Shelf, ada: KeyPair, tmp_path: Path) -> None:
    package = shelf.put(tmp_path, "sorter", ada)
    publish(package)
    (tmp_path / "other.tgsp").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        pull("sorter", tmp_path / "other.tgsp")
    assert pull("sorter", package).path == package


@pytest.mark.parametrize("reference", ["../x", "a@0", "A", "x@1/..", "", "sha256:00"])
def test_references_are_plain(home: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="names no package"):
        pull(reference)


@pytest.mark.parametrize("place", ["ftp://x/y", "https://user:pass@example.org", "https://["])
def test_places_of_no_known_kind(home: Path, place: str) -> None:
    with pytest.raises(UsageError):
        search("x", place)


def test_the_url_of_the_option_may_be_left_out() -> None:
    assert with_value(["a.tgsp", "--marketplace"]) == ["a.tgsp", "--marketplace", ""]
    assert with_value(["--marketplace", "a.tgsp"]) == ["--marketplace", "", "a.tgsp"]
    assert with_value(["--marketplace", "--json"]) == ["--marketplace", "", "--json"]
    assert with_value(["--marketplace", "u", "x"]) == ["--marketplace", "u", "x"]


def test_commands_end_to_end(
    shelf: Shelf, own_key: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        code = ended.value.code
        return (code if isinstance(code, int) else 0), capsys.readouterr().out

    package = shelf.put(tmp_path, "sorter", own_key, description="Sorts words.")
    code, out = run("publish", str(package), "--marketplace", "--json")
    assert (code, json.loads(out)["listing"]["name"]) == (0, "sorter")
    code, out = run("search", "words", "--marketplace")
    assert code == 0
    assert "sorter@1  Sorts words." in out
    code, out = run("pull", "sorter", "--out", str(tmp_path / "got.tgsp"))
    assert code == 0
    assert "intact and trusted" in out
    assert run("pull", "nothing-here")[0] == 1
    assert run("publish", str(package), "--marketplace", "ftp://x")[0] == 2
    broken = tmp_path / "broken.tgsp"
    broken.write_bytes(package.read_bytes()[:-1])
    assert run("publish", str(broken), "--marketplace")[0] == 4
    code, out = run("marketplace", "yank", "sorter@1", "--reason", "old", "--json")
    assert json.loads(out)["yanked"] == "old"
