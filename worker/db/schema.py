"""The schema's version: bring it up, or say what is wrong with it."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

import migrations
from worker.db.session import make_engine, reading, sqlite_file, writing
from worker.db.tables import metadata
from worker.errors import Unhealthy


def connect(url: str) -> Engine:
    """An engine whose schema is this version's.

    Raises Unhealthy when it is not, or when the database does not answer.
    """
    file = sqlite_file(url)
    if file and not file.exists():
        raise Unhealthy(f"no database at {file}: 'xrayq up' makes one, or run 'xrayq db upgrade'")
    engine = make_engine(url)
    try:
        revision = current(engine)
    except SQLAlchemyError as error:
        raise Unhealthy(f"the database does not answer ({type(error).__name__}): check XRAYQ_DATABASE_URL") from None
    if revision != head():
        raise Unhealthy(f"the database is at schema {revision}, this version needs {head()}: 'xrayq db upgrade'")
    return engine


def upgrade(engine: Engine, revision: str = "head") -> str:
    """Apply what is missing, in one transaction. Returns the revision reached. Raises Unhealthy."""
    config = _config()
    try:
        with writing(engine) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        return current(engine) or ""
    except SQLAlchemyError as error:
        raise Unhealthy(
            f"the database refused ({type(error).__name__}): check XRAYQ_DATABASE_URL and its rights"
        ) from None


def downgrade(engine: Engine, revision: str) -> None:
    config = _config()
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def current(engine: Engine) -> str | None:
    """The revision the database is at, None when it was never set up."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def differences(engine: Engine) -> list[str]:
    """How the database differs from the tables in code; empty when it does not."""
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return [
            str(change[0] if isinstance(change, tuple) else change) for change in compare_metadata(context, metadata)
        ]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config
