"""xrayq db: the database schema."""

import typer

from worker.cli.common import JsonOption, load_settings, print_json
from worker.errors import Unhealthy
from worker.processes.parts import make_folder, open_database

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="The database schema.")


@app.command()
def upgrade() -> None:
    """Create the schema, or bring it to this version.

    \b
    XRAYQ_DATABASE_URL=postgresql://xrayq@db/xrayq xrayq db upgrade
    """
    from worker.db import schema
    from worker.db.session import make_engine, sqlite_file

    settings = load_settings()
    if file := sqlite_file(settings.database):
        make_folder(file.parent, "XRAYQ_DATABASE_URL" if settings.database_url else "XRAYQ_HOME")
    typer.echo(f"schema {schema.upgrade(make_engine(settings.database, settings.database_timeout))}")


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Check that the database answers, is at this version's schema, and has exactly its tables. Exit code 5 if not.

    \b
    xrayq db check
    """
    from worker.db import schema

    engine = open_database(load_settings())
    differences = schema.differences(engine)
    if as_json:
        print_json({"schema": schema.current(engine), "head": schema.head(), "differences": differences})
    if differences:
        raise Unhealthy(f"the schema differs from this version's: {', '.join(differences)}")
    if not as_json:
        typer.echo(f"schema {schema.current(engine)} is up to date")
