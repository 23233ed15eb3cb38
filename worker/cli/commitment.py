"""xrayq commitment: who asked whether we hold its objects, and what it was told."""

from typing import Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, print_json, wide_console
from worker.errors import NotFound
from worker.processes.parts import open_database

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Storage commitment that others ask us for.")

MOST = 100
STYLES = {"reported": "green", "waits": "cyan", "given_up": "red"}


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=0, help="Newest so many; 0 shows all.")] = MOST,
    as_json: JsonOption = False,
) -> None:
    """List requests for storage commitment, the newest first, and what became of their reports.

    \b
    xrayq commitment list
    xrayq commitment list --json | jq '.[] | select(.state == "given_up") | .calling_ae'
    """
    from rich.text import Text

    from worker.cli.console import print_rows
    from worker.committing.listing import listed
    from worker.db.session import snapshot

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        requests = listed(connection, limit=limit)
    if as_json:
        print_json([request.as_dict() for request in requests])
        return
    if not requests:
        typer.echo("nobody has asked for storage commitment")
        return
    rows = [
        (
            str(request.id),
            request.calling_ae,
            Text(request.state.replace("_", " "), STYLES[request.state]),
            clock(request.asked_at, settings.zone),
            str(request.objects),
            ", ".join(f"{number} {reason}" for reason, number in request.failed.items()),
            str(request.attempts or ""),
            request.why,
        )
        for request in requests
    ]
    headings = ("request", "AE", "state", "asked", "objects", "not held", "attempts", "why")
    console = wide_console()
    print_rows(console, headings, rows, folds=("why",))
    console.print(f"Times are {settings.zone.key}.", style="dim")


@app.command()
def show(
    request_id: Annotated[int, typer.Argument(help="Id of the request, as listed.", metavar="REQUEST")],
    as_json: JsonOption = False,
) -> None:
    """Show a request, and of each of its objects whether it is held.

    \b
    xrayq commitment show 3
    xrayq commitment show 3 --json | jq '.each[] | select(.failure_reason) | .sop_instance_uid'
    """
    from dataclasses import asdict

    from pydicom.uid import UID

    from worker.committing.listing import shown
    from worker.db.session import snapshot

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        found = shown(connection, request_id)
    if found is None:
        raise NotFound(f"no request for storage commitment has the id {request_id}")
    request, objects = found
    if as_json:
        print_json(request.as_dict() | {"each": [asdict(one) for one in objects]})
        return
    console, state = wide_console(), request.state.replace("_", " ")
    console.print(f"{request.calling_ae} asked {clock(request.asked_at, settings.zone)} ({settings.zone.key}): {state}")
    console.print(f"transaction {request.transaction_uid}, attempts to report: {request.attempts}")
    if request.reason:
        console.print(request.why)
    for one in objects:
        why = f": {one.why}" if one.why else ""
        console.print(f"  {UID(one.sop_class_uid).name} {one.sop_instance_uid}{why}", style="dim")
