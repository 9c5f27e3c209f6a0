"""Writers who store the same thing at the same time, on PostgreSQL, where they don't wait."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from test_memory import write_debate

from aragora.memory import DebateFilter, Memory
from evidence._postgres_cluster import NoPostgresError, running_cluster

WRITERS = 16


@pytest.fixture(scope="module")
def postgres() -> Iterator[Memory]:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'aragora[postgres]'")
    try:
        with running_cluster() as url, Memory.open(url) as memory:
            yield memory
    except NoPostgresError as error:
        pytest.skip(str(error))


def test_debates_on_one_task_begin_and_count_one_pattern(postgres: Memory) -> None:
    def write(place: int) -> str:
        identity, _, critique = write_debate(postgres)
        judged = replace(critique, improved=place % 2 == 0)
        postgres.standings.count_pattern(judged, "reading", float(place))
        postgres.usage.link("jo@example.net", identity)
        return identity

    with ThreadPoolExecutor(WRITERS) as pool:
        made = list(pool.map(write, range(3 * WRITERS)))
    assert postgres.debates.count(DebateFilter()) == len(set(made)) == 3 * WRITERS
    (pattern,) = postgres.standings.patterns()
    assert (pattern.uses, pattern.successes) == (3 * WRITERS, 3 * WRITERS // 2)
