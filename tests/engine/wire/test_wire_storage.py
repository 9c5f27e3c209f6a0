"""Checkpoint folders that are whole or absent, and the database that indexes them."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_cluster import start_cluster
from sqlalchemy import create_engine, inspect

from tinker_engine.errors import (
    CheckpointError,
    EngineError,
    NotFoundError,
    RequestError,
    ServerUnavailableError,
)
from tinker_engine.protocol.paths import CheckpointPath, parse_path, run_folder_name
from tinker_engine.runtime.ordering import OrderGate
from tinker_engine.runtime.records import PrivacyPolicy, RunSpec
from tinker_engine.storage.checkpoints import DIGESTS_FILE, CheckpointFolders
from tinker_engine.storage.database import Database
from tinker_engine.storage.store import CheckpointRecord, FutureRecord, RunRecord, Store
from tinker_engine.storage.tables import Base

PATH = CheckpointPath("abc:train:0", "weights", "one")


def fill(text: str = "weights"):
    def write(folder: Path) -> None:
        (folder / "adapter_config.json").write_text("{}")
        (folder / "sub").mkdir()
        (folder / "sub" / "data.bin").write_text(text)

    return write


@pytest.fixture
def folders(tmp_path: Path) -> CheckpointFolders:
    return CheckpointFolders(tmp_path / "runs")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    yield from start_cluster()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that the engine supports."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'engine.sqlite3'}"
    server: str = request.getfixturevalue("cluster")
    name = f"db{uuid.uuid4().hex}"
    engine = create_engine(with_driver(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    database = Database(url)
    database.migrate()
    yield Store(database)
    database.close()


def test_written_folder_opens_with_the_same_digest(folders: CheckpointFolders) -> None:
    facts = folders.write(PATH, fill(), overwrite=False)
    folder, opened = folders.open(PATH)
    assert opened == facts
    assert facts.size_bytes == 9
    assert (folder / "sub" / "data.bin").read_text() == "weights"
    with pytest.raises(CheckpointError, match="overwrite=True"):
        folders.write(PATH, fill(), overwrite=False)
    assert folders.write(PATH, fill("other"), overwrite=True) != facts


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add", "digests", "no digests"])
def test_damage_is_found(folders: CheckpointFolders, damage: str) -> None:
    folders.write(PATH, fill(), overwrite=False)
    folder = folders.folder(PATH)
    file = folder / "sub" / "data.bin"
    if damage == "flip":
        file.write_text("Weights")
    elif damage == "truncate":
        file.write_text("weight")
    elif damage == "remove":
        file.unlink()
    elif damage == "add":
        (folder / "more").write_text("x")
    elif damage == "digests":
        (folder / DIGESTS_FILE).write_text("[]")
    else:
        (folder / DIGESTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"damaged|incomplete"):
        folders.open(PATH)


def test_failing_fill_leaves_nothing(folders: CheckpointFolders) -> None:
    def broken(folder: Path) -> None:
        fill()(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(EngineError, match="No space left"):
        folders.write(PATH, broken, overwrite=False)
    assert list(folders.folder(PATH).parent.iterdir()) == []
    with pytest.raises(NotFoundError):
        folders.open(PATH)


def test_overwrite_that_died_halfway_is_undone(folders: CheckpointFolders) -> None:
    facts = folders.write(PATH, fill(), overwrite=False)
    final = folders.folder(PATH)
    final.rename(final.parent / f".old-{final.name}")
    assert folders.open(PATH)[1] == facts


@pytest.mark.parametrize(
    "text",
    [
        "tinker://abc:train:0/weights/..",
        "tinker://abc:train:0/weights/a/b",
        "tinker://../weights/a",
        "tinker://abc:train:0/other/a",
        "tinker://abc:train:0/weights/",
        "tinker://abc:train:0/weights/" + "a" * 129,
        "tinker:/abc:train:0/weights/a",
        "abc:train:0/weights/a",
        "tinker://abc:train:0/weights/.hidden",
        "tinker://abc:train:0/weights/a\n",
    ],
)
def test_unsafe_paths_are_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse_path(text)


def test_path_round_trip() -> None:
    assert parse_path(str(PATH)) == PATH
    assert run_folder_name("abc:train:0") == "abc-train-0"


def test_migrated_tables_are_the_declared_ones(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.migrate()
    found = inspect(create_engine(with_driver(url)))
    for table in Base.metadata.sorted_tables:
        columns = {c["name"]: c for c in found.get_columns(table.name)}
        assert set(columns) == {c.name for c in table.columns}
        assert all(columns[c.name]["nullable"] == c.nullable for c in table.columns)
        # PostgreSQL lists the index behind a unique constraint as well.
        indexes = [i for i in found.get_indexes(table.name) if "duplicates_constraint" not in i]
        assert {i["name"] for i in indexes} == {i.name for i in table.indexes}


def test_run_record_round_trip(store: Store) -> None:
    policy = PrivacyPolicy(1.0, 0.1, 4.0, 1e-5, noise_multiplier=1.0)
    spec = RunSpec(4, 32.0, ("q_proj",), 1, privacy=policy, labels={"a": "b"})
    run = RunRecord(
        "abc:train:0", "abc", 0, "nano", "0" * 64, spec, {"a": "b"}, None, "e", 1.0, 2.0
    )
    store.add_session("abc", sdk_version="x", display_name=None, user_metadata=None)
    store.add_run(run)
    assert store.run(run.id) == run
    assert store.list_runs(10, 0).items == [run]
    with pytest.raises(NotFoundError):
        store.run("none")
    record = CheckpointRecord(PATH, "d", 9, time.time(), {"x": "y"}, time.time() - 1)
    store.put_checkpoint(record)
    with pytest.raises(NotFoundError, match="expired"):
        store.checkpoint(PATH)
    assert store.expired_checkpoints() == [PATH]
    store.put_checkpoint(dataclasses.replace(record, expires_at=None))
    assert store.list_checkpoints(run.id).total == 1


def test_two_writers_wait_for_each_other(url: str) -> None:
    stores: list[Store] = []
    for _ in range(2):
        database = Database(url)
        database.migrate()
        stores.append(Store(database))
    problems: list[Exception] = []

    def write(store: Store, name: str) -> None:
        try:
            for i in range(20):
                record = FutureRecord(f"{name}{i}", None, "k", "d", "done", "e", 1.0, {"i": i})
                store.put_futures([record])
        except Exception as error:
            problems.append(error)

    threads = [
        threading.Thread(target=write, args=(s, n)) for s, n in zip(stores, "ab", strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    stored = stores[0].future("b19")
    assert stored is not None
    assert stored.result == {"i": 19}


def test_sampler_numbers_are_kept(store: Store) -> None:
    store.add_session("abc", sdk_version="x", display_name="é", user_metadata={"a": [1]})
    for _ in range(2):
        store.add_sampler(
            "abc:sample:0", session_id="abc", base_model="nano", model_path=None, run_id=None
        )
    store.set_sampler_clients("abc:sample:0", 3)
    assert store.sampler("abc:sample:0").clients == 3
    assert store.session("abc").user_metadata == {"a": [1]}
    assert store.session_members("abc") == ([], ["abc:sample:0"])
    with pytest.raises(CheckpointError):
        store.add_sampler(
            "x:sample:0", session_id="x", base_model="n", model_path=None, run_id=None
        )


def test_a_database_that_cannot_be_used_is_told_so() -> None:
    for wrong in ("nonsense", "postgresql://u@127.0.0.1:1/x", "oracle+oracledb://u@h/x"):
        with pytest.raises(ServerUnavailableError):
            Database(wrong).migrate()


def test_gate_lets_through_in_order() -> None:
    gate: OrderGate[str] = OrderGate()
    assert gate.admit(3, "c") == []
    assert gate.admit(None, "now") == ["now"]
    assert gate.admit(1, "a") == ["a"]
    assert gate.is_past(1)
    assert gate.is_past(3)
    assert not gate.is_past(2)
    assert gate.admit(2, "b") == ["b", "c"]


def test_gate_gives_up_on_a_missing_place() -> None:
    gate: OrderGate[str] = OrderGate()
    gate.admit(2, "b")
    gate.admit(4, "d")
    assert gate.expire(60) == (1, [])
    assert gate.expire(0) == (1, ["b", "d"])
    assert gate.admit(5, "e") == ["e"]


def test_database_of_the_first_release_is_brought_up(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from tinker_engine.storage import database as module

    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    config = Config()
    config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO sessions VALUES ('abc', 1, 1, NULL, 'x', NULL, NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO runs VALUES ('abc:train:0', 'abc', 0, 'nano', 'd', '{}', NULL, NULL, 'e', "
            "1, 1, NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO checkpoints (run_id, kind, name, digest, size_bytes, created_at) "
            "VALUES ('abc:train:0', 'weights', 'one', 'd', 9, 1)"
        )
    engine.dispose()
    database = Database(url)
    database.migrate()
    store = Store(database)
    assert not store.checkpoint(PATH).is_public
    store.set_public(PATH, is_public=True)
    assert store.checkpoint(PATH).is_public


def test_copy_is_checked_and_stands_alone(folders: CheckpointFolders) -> None:
    target = CheckpointPath("copy-1", "weights", "one")
    facts = folders.write(PATH, fill(), overwrite=False)
    assert folders.copy(PATH, target) == facts
    folders.delete(PATH)
    assert folders.open(target)[1] == facts
    (folders.folder(target) / "sub" / "data.bin").write_text("changed")
    with pytest.raises(CheckpointError, match="damaged"):
        folders.copy(target, CheckpointPath("copy-2", "weights", "one"))
