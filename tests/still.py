"""A machine that stands still: its clock, its disks, and no pictures. What it prints is the same anywhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from matplotlib.figure import Figure
from sqlalchemy import Engine, func, select, text

from worker.db.session import writing

FREE, TOTAL = 300 << 30, 1 << 40
"""Bytes of every disk."""


class Clock:
    """The clock of this process and, where the database has one of its own, that one; both stand still."""

    def __init__(self, database: Engine, here: time_machine.Traveller) -> None:
        self._database = database
        self._here = here

    def set(self, at: datetime) -> None:
        self._here.move_to(at)
        if self._database.dialect.name == "postgresql":
            with writing(self._database) as connection:
                connection.execute(
                    text(
                        "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
                        f"AS $$ SELECT timestamptz '{at.isoformat()}' $$"
                    )
                )


@contextmanager
def clock_of(database: Engine, at: datetime) -> Iterator[Clock]:
    """A clock that stands at this time, until the block ends."""
    if database.dialect.name == "postgresql":
        # Names of `public` then come before the server's own, so that ours is its clock.
        with writing(database) as connection:
            name = connection.execute(select(func.current_database())).scalar_one()
            connection.execute(text(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog'))
        database.dispose()
    with time_machine.travel(at, tick=False) as here:
        clock = Clock(database, here)
        clock.set(at)
        yield clock


def disks(patch: pytest.MonkeyPatch) -> None:
    """Every disk has the same room."""
    real = os.statvfs

    def room(path: Any) -> Any:
        real(path)  # one that is not there still fails
        blocks = {"f_bavail": FREE >> 12, "f_bfree": FREE >> 12, "f_blocks": TOTAL >> 12}
        return SimpleNamespace(f_frsize=1 << 12, f_bsize=1 << 12, **blocks)

    patch.setattr(os, "statvfs", room)


def no_pictures(patch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn: another matplotlib draws them otherwise."""
    patch.setattr(Figure, "savefig", lambda _figure, file, **_: file.write(type(file.getvalue())()))
