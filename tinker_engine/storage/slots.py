"""Live slots as stored: where each one points, and every change with the admission behind it.

A change and the pointer it moves are written in one transaction, so a crash leaves both or neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from tinker_engine.errors import SlotConflictError
from tinker_engine.storage.database import Database
from tinker_engine.storage.tables import Base


class SlotRow(Base):
    """Where a slot points; `config_digest` is None where it points at the bare base."""

    __tablename__ = "slots"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    config_digest: Mapped[str | None] = mapped_column(String(64))
    previous_digest: Mapped[str | None] = mapped_column(String(64))
    base_digest: Mapped[str] = mapped_column(String(64))
    changed_at: Mapped[float]


class SlotChangeRow(Base):
    """One change of a slot; rows are only ever added."""

    __tablename__ = "slot_changes"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    slot: Mapped[str] = mapped_column(String(64), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    previous_digest: Mapped[str | None] = mapped_column(String(64))
    base_digest: Mapped[str] = mapped_column(String(64))
    gate_report_digest: Mapped[str] = mapped_column(String(64))
    decided_by: Mapped[str]
    decided_at: Mapped[float]
    changed_at: Mapped[float]


@dataclass(frozen=True)
class Slot:
    """A live slot; digests are hex SHA-256, of the base where the slot points at the bare base.

    `config_digest` is None for the base, and the digest itself for a set of adapters (which is one
    document). `changed_at` is in seconds since the epoch.
    """

    name: str
    digest: str
    config_digest: str | None
    previous_digest: str | None
    base_digest: str
    changed_at: float

    @property
    def is_base(self) -> bool:
        """Whether the slot points at the bare base."""
        return self.config_digest is None

    @property
    def is_set(self) -> bool:
        """Whether the slot points at a set of adapters, of which one answers each request."""
        return self.config_digest == self.digest


@dataclass(frozen=True)
class SlotChange:
    """One change of a slot, with the admission that allowed it."""

    slot: str
    digest: str
    previous_digest: str | None
    base_digest: str
    gate_report_digest: str
    decided_by: str
    decided_at: float
    changed_at: float


class SlotStore:
    """Reading and changing slots."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def slots(self) -> list[Slot]:
        """All slots, by name."""
        with self._db.read() as db:
            return [_slot(row) for row in db.scalars(select(SlotRow).order_by(SlotRow.name))]

    def history(self, name: str) -> list[SlotChange]:
        """A slot's changes, oldest first."""
        with self._db.read() as db:
            query = select(SlotChangeRow).where(SlotChangeRow.slot == name)
            return [_change(row) for row in db.scalars(query.order_by(SlotChangeRow.id))]

    def point(self, slot: Slot, change: SlotChange) -> None:
        """Move a slot from `change.previous_digest` (None: make it) to where `slot` says.

        Raises SlotConflictError, and changes nothing, when it points elsewhere by now.
        """
        try:
            with self._db.write() as db:
                self._move(db, slot, change.previous_digest)
                db.add(SlotChangeRow(**vars(change)))
        except IntegrityError as error:
            raise SlotConflictError(
                f"slot {slot.name!r} exists by now; look at it again"
            ) from error

    def _move(self, db: Session, slot: Slot, expected: str | None) -> None:
        if expected is None:
            db.add(SlotRow(**vars(slot)))
            db.flush()
            return
        is_expected = (SlotRow.name == slot.name) & (SlotRow.digest == expected)
        moved = db.execute(
            update(SlotRow).where(is_expected).values(**vars(slot)).returning(SlotRow.name)
        )
        if moved.first() is None:
            raise SlotConflictError(
                f"slot {slot.name!r} does not point at {expected} any more; look at it again"
            )


def _slot(row: SlotRow) -> Slot:
    return Slot(
        name=row.name,
        digest=row.digest,
        config_digest=row.config_digest,
        previous_digest=row.previous_digest,
        base_digest=row.base_digest,
        changed_at=row.changed_at,
    )


def _change(row: SlotChangeRow) -> SlotChange:
    return SlotChange(
        slot=row.slot,
        digest=row.digest,
        previous_digest=row.previous_digest,
        base_digest=row.base_digest,
        gate_report_digest=row.gate_report_digest,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        changed_at=row.changed_at,
    )
