"""Alembic's entry.

`xrayq db upgrade` hands over its connection; the plain `alembic` command builds one from the settings.
"""

from alembic import context
from sqlalchemy import Connection

from worker.db.schema import plain_type
from worker.db.session import make_engine, writing
from worker.db.tables import metadata
from worker.settings import Settings


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, render_item=plain_type)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = Settings()
    with writing(make_engine(settings.database, settings.database_timeout), long=True) as own:
        run(own)
