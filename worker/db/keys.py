"""Keys of the installation: made at first need and kept in the database, in the table `secret`.

Every host of an installation has the same; a report, a list, an export or the audit trail has none.
"""

import secrets
from contextlib import suppress

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from worker.db.session import database_time, reading, writing
from worker.db.tables import secret


def installation_key(engine: Engine, name: str) -> bytes:
    """32 bytes, made where there are none, in a transaction of its own: not to be called inside of one.

    Raises SQLAlchemyError.
    """
    return _kept(engine, name) or _made(engine, name)


def _kept(engine: Engine, name: str) -> bytes | None:
    with reading(engine) as connection:
        value = connection.execute(select(secret.c.value).where(secret.c.name == name)).scalar_one_or_none()
    return bytes.fromhex(value) if value else None


def _made(engine: Engine, name: str) -> bytes:
    with suppress(IntegrityError), writing(engine) as connection:  # another process may have made it meanwhile
        row = {"name": name, "value": secrets.token_hex(32), "made_at": database_time(connection)}
        connection.execute(insert(secret), row)
    kept = _kept(engine, name)
    assert kept is not None
    return kept
