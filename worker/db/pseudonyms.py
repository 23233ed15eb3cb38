"""Accession Numbers as keyed digests: enough to find films by them, and nothing to try numbers against.

The key is the installation's own, made at first need and kept in the database, in the table `secret`: whoever finds
films by a number, on whichever host, has the database; a report, a list, an export or the audit trail has no key.
Without the key, older films are no longer found by their Accession Number; nothing else is lost.

A release before this one kept a plain SHA-256, which can be tried with every number. `rekey` makes keyed ones of those:
the keyed digest is one of the plain digest, so that it needs no number.
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Table, delete, select, update

from worker.db.keys import installation_key
from worker.db.session import reading, writing
from worker.db.tables import instance, truth

NAME = "digests"
MARK = "k:"
"""What a keyed digest begins with. A plain one is hex."""
CHUNK = 500
_keys: "WeakKeyDictionary[Engine, bytes]" = WeakKeyDictionary()


def digest_key(engine: Engine) -> bytes:
    """The installation's key, made where there is none, in a transaction of its own: not to be called inside of one.

    Raises SQLAlchemyError.
    """
    key = _keys.get(engine)
    if key is None:
        key = _keys[engine] = installation_key(engine, NAME)
    return key


def accession_digest(key: bytes, number: str) -> str:
    """Of an Accession Number, 64 characters, "" without one."""
    return keyed(key, plain_digest(number)) if number else ""


def plain_digest(number: str) -> str:
    """What a release before kept."""
    return hashlib.sha256(number.encode()).hexdigest()


def keyed(key: bytes, plain: str) -> str:
    """HMAC-SHA256 of a plain digest, its first 248 bits."""
    return MARK + hmac.digest(key, plain.encode(), hashlib.sha256)[:31].hex()


def rekey(engine: Engine) -> int:
    """Make keyed digests of the plain ones that a release before left, of films and labels. Returns how many.

    As often as you like: a process of that release may write more until it is updated.
    """
    key = digest_key(engine)
    return _each(engine, instance, partial(_rekey_films, key)) + _each(engine, truth, partial(_rekey_labels, key))


def _each(engine: Engine, table: Table, change: Callable[[Connection, str], int]) -> int:
    """Over the plain digests of a table; each transaction a short one, for films are received meanwhile."""
    column, done, last = table.c.accession_digest, 0, ""
    query = select(column).where(column < MARK).distinct().order_by(column).limit(CHUNK)  # hex sorts before MARK
    while True:
        with reading(engine) as connection:
            plain = connection.execute(query.where(column > last)).scalars().all()
        if not plain:
            return done
        with writing(engine) as connection:
            done += sum(change(connection, digest) for digest in plain)
        last = plain[-1]


def _rekey_films(key: bytes, connection: Connection, plain: str) -> int:
    of_number = instance.c.accession_digest == plain
    return connection.execute(update(instance).where(of_number).values(accession_digest=keyed(key, plain))).rowcount


def _rekey_labels(key: bytes, connection: Connection, plain: str) -> int:
    """Where a reader's label stands under both digests, the later reading is kept."""
    new = keyed(key, plain)
    old_rows = connection.execute(select(truth).where(truth.c.accession_digest == plain)).all()
    known = connection.execute(select(truth).where(truth.c.accession_digest == new)).all()
    by_reader = {(row.sop_instance_uid, row.reader): row for row in known}
    for row in old_rows:
        other = by_reader.get((row.sop_instance_uid, row.reader))
        if other:
            older = min(row, other, key=lambda label: (label.read_on, label.imported_at))
            connection.execute(delete(truth).where(truth.c.id == older.id))
        connection.execute(update(truth).where(truth.c.id == row.id).values(accession_digest=new))
    return len(old_rows)
