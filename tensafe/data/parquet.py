"""Reads Parquet with polars; a column that can't be decoded costs that column, not the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensafe.data.items import Item, OpenedSource, Row
from tensafe.data.records import Unreadable

_BATCH_ROWS = 4096


def open_parquet(path: Path, name: str) -> OpenedSource:
    """Rows of a Parquet file, in batches of 4,096."""
    import polars as pl

    if path.stat().st_size == 0:
        bad = Unreadable(name, "", "empty file (0 bytes)", "write or download it again")
        return OpenedSource("Parquet", "", iter([bad]))
    try:
        schema: dict[str, Any] = dict(pl.read_parquet_schema(path))
    except _polars_errors() as error:
        bad = Unreadable(
            name,
            "",
            f"the Parquet schema can't be read: {_short(error)}",
            "write the file again with another Parquet writer",
        )
        return OpenedSource("Parquet", "", iter([bad]))
    columns = f"{len(schema)} column{'' if len(schema) == 1 else 's'}"
    return OpenedSource("Parquet", columns, _items(path, name, schema))


def _items(path: Path, name: str, schema: dict[str, Any]) -> Iterator[Item]:
    bad = {column: _is_map(name, column) for column, dtype in schema.items() if _has_map(dtype)}
    readable = {column: dtype for column, dtype in schema.items() if column not in bad}
    bad |= _unreadable_columns(path, name, readable)
    yield from bad.values()
    usable = [column for column in schema if column not in bad]
    if not usable:
        if len(schema) != 1:
            yield Unreadable(
                name, "", "no column can be read", "write the file with another Parquet writer"
            )
        return
    if not any(_may_hold_text(schema[column]) for column in usable):
        kinds = ", ".join(sorted({str(schema[column]).split("(")[0] for column in usable}))
        what = "only column is" if len(usable) == 1 else f"{len(usable)} readable columns are"
        yield Unreadable(
            name,
            "",
            f"no text: its {what} {kinds}",
            "leave it out, or add columns with text",
        )
        return
    count = 0
    try:
        for count, fields in enumerate(_rows(path, usable), start=1):
            yield Row(fields, f"row {count}")
    except _polars_errors() as error:
        yield Unreadable(
            name,
            f"after row {count}",
            f"the data can't be decoded: {_short(error)}",
            "write the file with another Parquet writer; the rows before are used",
        )
        return
    if count == 0:
        yield Unreadable(name, "", "the table has no rows", "leave it out")


def _unreadable_columns(path: Path, name: str, schema: dict[str, Any]) -> dict[str, Unreadable]:
    """The columns whose first rows can't be decoded, each with the reason."""
    import polars as pl

    try:
        pl.scan_parquet(path).select(list(schema)).head(1).collect()
    except _polars_errors():
        pass
    else:
        return {}
    bad: dict[str, Unreadable] = {}
    for column in schema:
        try:
            pl.scan_parquet(path).select(column).head(1).collect()
        except _polars_errors() as error:
            bad[column] = Unreadable(
                name,
                f"column {column!r}",
                f"can't be decoded: {_short(error)}",
                "write the file with another Parquet writer; the other columns are used",
            )
    return bad


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, object]]:
    import polars as pl

    frame: Any = pl.scan_parquet(path).select(columns)
    for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True):
        yield from batch.iter_rows(named=True)


def _has_map(dtype: Any) -> bool:
    return "Map(" in str(dtype)


def _is_map(name: str, column: str) -> Unreadable:
    """Maps are never opened: they hold no question, and small files hide gigabytes in them."""
    return Unreadable(
        name,
        f"column {column!r}",
        "a map from keys to values, not read",
        "turn its keys into columns if it holds text; the other columns are used",
    )


def _may_hold_text(dtype: Any) -> bool:
    words = str(dtype)
    return any(kind in words for kind in ("String", "Binary", "Categorical", "Enum"))


def _polars_errors() -> tuple[type[BaseException], ...]:
    import polars.exceptions as errors

    return (errors.PolarsError, errors.PanicException, OSError)


def _short(error: BaseException) -> str:
    first = str(error).split("\n", maxsplit=1)[0].strip()
    return first[:160] or type(error).__name__
