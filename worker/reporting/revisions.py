"""A film that was corrected: its revisions before one, and after it."""

from typing import Any

from sqlalchemy import ColumnElement, Select, select

from worker.db.tables import instance


def before(instance_id: int) -> Select[Any]:
    """Ids of the film's earlier revisions."""
    film = _film(instance_id)
    return _ids(film.c.sop_instance_uid, instance.c.revision < film.c.revision)


def after(instance_id: int) -> Select[Any]:
    """Ids of its later ones."""
    film = _film(instance_id)
    return _ids(film.c.sop_instance_uid, instance.c.revision > film.c.revision)


def _film(instance_id: int) -> Any:
    return select(instance.c.sop_instance_uid, instance.c.revision).where(instance.c.id == instance_id).subquery()


def _ids(sop_instance_uid: ColumnElement[str], which: ColumnElement[bool]) -> Select[Any]:
    return select(instance.c.id).where(instance.c.sop_instance_uid == sop_instance_uid, which, instance.c.is_film)
