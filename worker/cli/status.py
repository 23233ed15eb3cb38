"""xrayq status: what a person on call looks at first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, load_settings, print_json

if TYPE_CHECKING:
    import threading

    from rich.console import Console

    from worker.settings import Settings
    from worker.status.snapshot import Snapshot, StatusOptions, StatusReader

    Looked = Snapshot | BaseException

KEY_SECONDS = 0.1
LEAVE = ("q", "Q", "")
""""" is a terminal that hung up."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after")(status)


def status(
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print it once, as into a pipe.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Is all well? Processes, waiting films, alarms, today by sender, what was refused, dead letters. q leaves.

    On a terminal it stays and looks again every two seconds. Printed once, it
    leaves with exit code 5 when the database, the spool or a process is not
    ready, films wait longer than XRAYQ_ALARM_BACKLOG_SECONDS, an alarm is open
    that nobody has acknowledged, or its mail or webhook call does not arrive.
    Failed films, C-STOREs refused today and peers not let in change no exit code.
    Each process is asked on this machine's port. Set the port to 0 for a process
    that runs elsewhere: XRAYQ_GATEWAY_HTTP_PORT, XRAYQ_RELAY_HTTP_PORT
    or XRAYQ_WORKER_HTTP_PORT.

    \b
    xrayq status
    xrayq status --once > now.txt || mail -s 'xrayq is not well' me@example.org < now.txt
    xrayq status --json | jq .faults
    """
    from rich.console import Console

    from worker.cli.common import wide_console
    from worker.errors import Unhealthy
    from worker.status.snapshot import StatusReader

    settings = load_settings()
    watched = StatusReader(status_options(settings))
    console = Console()
    if console.is_terminal and not (once or as_json or console.is_dumb_terminal):
        _live(watched, settings, console, every)
        return
    looked = watched.look()
    if as_json:
        print_json(looked.as_dict())
    else:
        _print(looked, settings, wide_console())
    if looked.faults:
        raise Unhealthy(f"not well: {'; '.join(looked.faults)}")


def status_options(settings: "Settings") -> "StatusOptions":
    """What a look needs of the settings."""
    from worker.processes.endpoints import processes
    from worker.status.snapshot import StatusOptions

    return StatusOptions(
        database_url=settings.database,
        database_seconds=settings.database_timeout,
        spool=settings.spool_folder,
        reserve_bytes=settings.spool_reserve_mib << 20,
        bundle=settings.bundle,
        zone=settings.zone,
        backlog_seconds=settings.alarm_backlog_seconds,
        processes=tuple(processes(settings).values()),
        certificate=settings.tls_certificate,
        audited=bool(settings.audit_to),
    )


def _print(looked: "Snapshot", settings: "Settings", console: "Console") -> None:
    from worker.status.view import page

    console.print(
        page(
            looked,
            now=looked.at,
            zone=settings.zone,
            site=settings.site,
            width=console.width,
            ascii_=console.options.ascii_only,
        )
    )


def _live(watched: "StatusReader", settings: "Settings", console: "Console", every: float) -> None:
    """Show the newest look until a key of LEAVE or Ctrl-C. Looking happens beside, so that keys are never late.

    A signal is noted, and looked at between two looks. As an exception it could arrive anywhere: in the middle of what
    the console writes, which then never writes the end of the view, or where Python drops it, as in a `__del__`.
    """
    import queue
    import signal
    import threading
    from datetime import UTC, datetime

    from rich.live import Live
    from rich.text import Text

    from worker.status.view import page

    looks: queue.SimpleQueue[Looked] = queue.SimpleQueue()
    stop = threading.Event()
    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the terminal is put back however this ends
        signal.signal(number, lambda number, _: signals.append(number))
    threading.Thread(target=_look, args=(watched, every, stop, looks.put), daemon=True).start()
    looked, shown = None, None
    try:
        with _keys() as key, Live(Text("looking ..."), console=console, screen=True, auto_refresh=False) as live:
            while not signals and key() not in LEAVE:
                while not looks.empty():
                    newest = looks.get()
                    if isinstance(newest, BaseException):
                        raise newest
                    looked = newest
                now, size = datetime.now(UTC), console.size
                if looked is None or shown == (looked.at, size, int(now.timestamp())):
                    continue
                shown = (looked.at, size, int(now.timestamp()))
                view = page(
                    looked,
                    now=now,
                    zone=settings.zone,
                    site=settings.site,
                    width=size.width,
                    height=size.height,
                    ascii_=console.options.ascii_only,
                )
                live.update(view, refresh=True)
    finally:
        stop.set()


def _look(watched: "StatusReader", every: float, stop: "threading.Event", show: "Callable[[Looked], None]") -> None:
    while not stop.is_set():
        try:
            show(watched.look())
        except BaseException as error:  # noqa: BLE001 - the thread's edge: the one that shows raises it
            show(error)
            return
        stop.wait(every)


@contextmanager
def _keys() -> Iterator[Callable[[], str | None]]:
    """A function that waits a moment for one key: None without one, "" when the terminal is gone."""
    import os
    import select
    import sys
    import termios
    import time
    import tty

    if not sys.stdin.isatty():
        yield lambda: time.sleep(KEY_SECONDS)
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def key() -> str | None:
        if not select.select([terminal], [], [], KEY_SECONDS)[0]:
            return None
        return os.read(terminal, 1).decode(errors="replace")

    tty.setcbreak(terminal)
    try:
        yield key
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
