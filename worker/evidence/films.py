"""Which films a pack is of: by instance, SOP Instance UID, study or Accession Number, and always every revision."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, select

from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import reading
from worker.db.tables import instance
from worker.errors import ConfigurationError, NotFound, WrongState

LARGEST_ID = 2**63 - 1


class Kind(StrEnum):
    """What a name can be."""

    INSTANCE = "instance"
    FILM = "film"
    STUDY = "study"
    ACCESSION = "accession"


MEANING = {
    Kind.INSTANCE: "instance id",
    Kind.FILM: "SOP Instance UID",
    Kind.STUDY: "Study Instance UID",
    Kind.ACCESSION: "Accession Number",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Films of one name."""

    kind: Kind
    films: tuple[int, ...]
    """Instance ids, rising: of every revision of each film."""


def find(engine: Engine, name: str, kind: Kind | None = None) -> Found:
    """Every revision of each film that the name names.

    Args:
        kind: what the name is; None where it can be one of them alone.

    Raises:
        NotFound: nothing has this name.
        ConfigurationError: it is the name of several.
        WrongState: it is the name of an object that is no film.
    """
    columns = select(instance.c.sop_instance_uid, instance.c.is_film)
    asked = _conditions(engine, name.strip(), kind)
    with reading(engine) as connection:
        found = {of: connection.execute(columns.where(condition)).all() for of, condition in asked.items()}
        named = [of for of, rows in found.items() if rows]
        if not named:
            raise NotFound(f"no film has {name!r} as its {' or '.join(MEANING[of] for of in asked) or kind}")
        if len(named) > 1:
            ways = " or ".join(f"--by {of}" for of in named)
            raise ConfigurationError(f"{name} is {' and '.join(MEANING[of] for of in named)}: say which, {ways}")
        uids = {row.sop_instance_uid for row in found[named[0]] if row.is_film}
        if not uids:
            raise WrongState(f"{name} is no film: there is no result of it")
        every = select(instance.c.id).where(instance.c.sop_instance_uid.in_(uids), instance.c.is_film)
        films = tuple(connection.execute(every.order_by(instance.c.id)).scalars())
    return Found(kind=named[0], films=films)


def _conditions(engine: Engine, name: str, kind: Kind | None) -> dict[Kind, ColumnElement[bool]]:
    """What to look for, by kind. Nothing for an empty name, which films without a number have."""
    if not name:
        return {}
    conditions: dict[Kind, ColumnElement[bool]] = {
        Kind.FILM: instance.c.sop_instance_uid == name,
        Kind.STUDY: instance.c.study_instance_uid == name,
        Kind.ACCESSION: instance.c.accession_digest == accession_digest(digest_key(engine), name),
    }
    if name.isascii() and name.isdigit() and int(name) <= LARGEST_ID:
        conditions = {Kind.INSTANCE: instance.c.id == int(name)} | conditions
    return {of: condition for of, condition in conditions.items() if kind in (None, of)}
