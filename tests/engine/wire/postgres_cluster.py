"""A PostgreSQL cluster for tests, which skip where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evidence._postgres_cluster import NoPostgresError, running_cluster


def start_cluster() -> Iterator[str]:
    """URL of a fresh server with an empty database; skips where there is no PostgreSQL."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'aragora[postgres]'")
    try:
        with running_cluster() as url:
            yield url
    except NoPostgresError as error:
        pytest.skip(str(error))
