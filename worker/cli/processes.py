"""The processes: up, gateway, relay, worker, web."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import load_settings
from worker.errors import Unhealthy
from worker.processes.parts import start_logging

if TYPE_CHECKING:
    from worker.settings import Settings


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(up)
    app.command(rich_help_panel="Run")(gateway)
    app.command(rich_help_panel="Run")(relay)
    app.command(rich_help_panel="Run")(worker)
    app.command(rich_help_panel="Run")(web)


def up(
    port: Annotated[int | None, typer.Option(help="Port of the gateway; default 11112.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for database and spool; default ~/.xrayq.")] = None,
) -> None:
    """Run everything on this machine: gateway, relay, worker and web page.

    With SQLite and a Redis of its own unless told otherwise.

    \b
    xrayq up
    xrayq up --port 104 --home /var/lib/xrayq
    XRAYQ_DATABASE_URL=postgresql://xrayq@db/xrayq XRAYQ_REDIS_URL=redis://cache xrayq up
    """
    import os

    from worker.processes import up

    overrides = {
        "XRAYQ_PORT": str(port) if port is not None else "",
        "XRAYQ_HOME": str(home.absolute()) if home else "",
    }
    os.environ.update({name: value for name, value in overrides.items() if value})
    up.run(_begin())


def gateway() -> None:
    """Receive films by C-STORE (Storage SCP). Needs the database and the spool, not Redis."""
    from worker.processes import gateway

    gateway.run(_begin())


def relay() -> None:
    """Send the ids of received films to the workers, and again when no result comes.

    Also alarms and the night's report.
    """
    from worker.processes import relay

    relay.run(_begin())


def worker() -> None:
    """Score received films; Redis brings their ids. One process for each GPU or CPU host."""
    settings = _begin()
    from worker.processes import worker

    if not worker.run(settings):
        raise typer.Exit(Unhealthy.exit_code)


def web() -> None:
    """Serve the web page: worklist, films, reading, operations. Needs the database and the spool, not Redis."""
    from worker.cli.web import serve

    serve(_begin())


def _begin() -> "Settings":
    """What each process does first. From here on nothing that it writes waits for a reader."""
    from worker.log_sink import let_nobody_wait

    settings = load_settings()
    let_nobody_wait()
    start_logging(settings)
    return settings
