"""The schema's version: bring it up, or say what is wrong with it.

Alembic changes schemas, so only what changes one imports it: each process and most commands only ask for the version.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeDecorator

import migrations
from worker.db.causes import STATES, database_place, located_cause
from worker.db.session import DATABASE_SECONDS, make_engine, reading, sqlite_file, writing
from worker.db.tables import metadata
from worker.errors import Unhealthy

if TYPE_CHECKING:
    from alembic.config import Config

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Of a PostgreSQL database, that keep every character. In SQL_ASCII it is our UTF-8, not looked at."""

MAY_INSERT = """SELECT has_table_privilege('audit_event', 'INSERT') AND coalesce(
    has_sequence_privilege(pg_get_serial_sequence('audit_event', 'id'), 'USAGE, UPDATE'), true)"""


def connect(url: str, seconds: float = DATABASE_SECONDS, *, writes: bool = False) -> Engine:
    """An engine whose schema is this version's; `seconds` as `make_engine` has it.

    Raises Unhealthy when it is not, or when the database does not answer, or takes no rows where it `writes`.
    """
    file = sqlite_file(url)
    if file and not file.exists():
        raise Unhealthy(f"no database at {file}: 'xrayq up' makes one, or run 'xrayq db upgrade'")
    engine = make_engine(url, seconds)
    try:
        require_encoding(engine)
        revision = current(engine)
        refused = refusal(engine) if writes and revision == head() else ""
    except SQLAlchemyError as error:
        raise Unhealthy(f"{located_cause(error, engine.url)}: check XRAYQ_DATABASE_URL") from None
    if revision != head():
        raise Unhealthy(f"the database is at schema {revision}, this version needs {head()}: 'xrayq db upgrade'")
    if refused:
        raise Unhealthy(f"{database_place(engine.url)} takes no rows: {refused}; check its role's rights and settings")
    return engine


def upgrade(engine: Engine, revision: str = "head") -> str:
    """Apply what is missing, in one transaction. Returns the revision reached. Raises Unhealthy."""
    from alembic import command

    config = _config()
    try:
        require_encoding(engine)
        with writing(engine, long=True) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        return current(engine) or ""
    except SQLAlchemyError as error:
        raise Unhealthy(f"{located_cause(error, engine.url)}: check XRAYQ_DATABASE_URL and its rights") from None


def require_encoding(engine: Engine) -> None:
    """Raises Unhealthy where a PostgreSQL database cannot keep every character."""
    if engine.dialect.name != "postgresql":
        return
    with reading(engine) as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding not in ENCODINGS:
        raise Unhealthy(
            f"{database_place(engine.url)} has the encoding {encoding}: xrayq needs one made with ENCODING 'UTF8'"
        )


def refusal(engine: Engine) -> str:
    """Why a PostgreSQL database takes no rows from this role, in the words of STATES; "" where it does.

    Asked of the audit trail, for every transaction that changes something writes there.
    """
    if engine.dialect.name != "postgresql":
        return ""
    with reading(engine) as connection:
        if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
            return STATES["25006"]
        return "" if connection.exec_driver_sql(MAY_INSERT).scalar_one() else STATES["42501"]


def downgrade(engine: Engine, revision: str) -> None:
    from alembic import command

    config = _config()
    with writing(engine, long=True) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def current(engine: Engine) -> str | None:
    """The revision the database is at, None when it was never set up."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return revision


@cache
def head() -> str:
    """The newest revision: migrations are numbered in their order, and their files begin with the number."""
    files = (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)


def differences(engine: Engine) -> list[str]:
    """How the database differs from the tables in code; empty when it does not."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return [
            str(change[0] if isinstance(change, tuple) else change) for change in compare_metadata(context, metadata)
        ]


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def plain_type(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """A type of ours as the one it stands on: a migration imports none of our code, which changes after it."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False
