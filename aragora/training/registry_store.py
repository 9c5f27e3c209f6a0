"""Where a registry keeps its documents: one locked JSON file, or a table of aragora's database.

Both give the same contract: `read` tells what is there now; `edit` lets a function change the
documents while nobody else can, and stores all changes or none. A kill leaves the old or the new.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from aragora.errors import RegistryError
from aragora.training.model_metadata import Documents
from tensafe.files import locked, write_json

VERSION = 1
ResultT = TypeVar("ResultT")


class RegistryStore(Protocol):
    """Documents by model id."""

    @property
    def place(self) -> str:
        """What messages call it."""
        ...

    def read(self) -> Documents:
        """All documents; raises RegistryError where they can't be read."""
        ...

    def edit(self, change: Callable[[Documents], ResultT]) -> ResultT:
        """Let `change` edit the documents in place; nothing is stored when it raises."""
        ...


class RegistryFile:
    """One JSON file, edited under a lock and replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def place(self) -> str:
        """The file's name."""
        return str(self.path)

    def read(self) -> Documents:
        """The file's documents; none when there is no file."""
        return self._models(self._document())

    def edit(self, change: Callable[[Documents], ResultT]) -> ResultT:
        """Change the file under its lock."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path):
                document = self._document()
                models = self._models(document)
                result = change(models)
                write_json(self.path, {**document, "version": VERSION, "models": models})
        except OSError as error:
            raise RegistryError(f"{self.path}: can't be written: {error.strerror}") from error
        return result

    def _document(self) -> dict[str, Any]:
        try:
            document: object = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"version": VERSION, "models": {}}
        except (OSError, UnicodeDecodeError) as error:
            raise RegistryError(f"{self.path}: can't be read: {error}") from error
        except ValueError as error:
            raise RegistryError(f"{self.path}: not JSON ({error}); restore it") from error
        if not isinstance(document, dict):
            raise RegistryError(f"{self.path}: expected a JSON object with `models`")
        return cast("dict[str, Any]", document)

    def _models(self, document: dict[str, Any]) -> Documents:
        version, models = document.get("version", VERSION), document.get("models", {})
        if version != VERSION:
            raise RegistryError(
                f"{self.path}: not a model registry (version {version}, expected {VERSION})"
            )
        if not isinstance(models, dict) or not all(
            isinstance(row, dict) for row in cast("dict[str, Any]", models).values()
        ):
            raise RegistryError(f"{self.path}: `models` is not an object of objects; restore it")
        return cast("Documents", models)


class RegistryTable:
    """The table `registered_models` of an aragora database."""

    def __init__(self, url: str) -> None:
        from aragora.memory.store import Memory

        self._memory = Memory.open(url)

    @property
    def place(self) -> str:
        """What the database is called, without its password."""
        return f"the registry in {self._memory.database.name}"

    def read(self) -> Documents:
        """All rows."""
        from sqlalchemy import select

        from aragora.memory.tables import RegisteredModelRow

        with self._memory.database.read() as session:
            rows = session.scalars(select(RegisteredModelRow))
            return {row.model_id: dict(row.document) for row in rows}

    def edit(self, change: Callable[[Documents], ResultT]) -> ResultT:
        """Change rows in one transaction that no other edit runs beside."""
        from sqlalchemy import select

        from aragora.memory.tables import RegisteredModelRow
        from tinker_engine.errors import StorageError

        try:
            with self._memory.database.write() as session:
                self._memory.database.lock(session, "registered_models")
                rows = {row.model_id: row for row in session.scalars(select(RegisteredModelRow))}
                models = {name: dict(row.document) for name, row in rows.items()}
                result = change(models)
                for name, document in models.items():
                    if name not in rows:
                        session.add(RegisteredModelRow(model_id=name, document=document))
                    elif rows[name].document != document:
                        rows[name].document = document
        except StorageError as error:
            raise RegistryError(f"{self.place}: {error}") from error
        return result
