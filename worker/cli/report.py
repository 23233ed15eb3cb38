"""xrayq report: results on their way back, what arrived, and once more."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.cli.one_instance import newest_admitted
from worker.errors import ConfigurationError, NotFound, WrongState
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from worker.reporting.listing import ListedObject, ListedResult
    from worker.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Results that are sent to PACS and RIS.")

MOST = 100
NO_RECEIVER = "mllp://host:2575"
"""Stands for the receiver where none is set."""
Name = Annotated[str, typer.Argument(help="Instance id, or SOP Instance UID of the film.", metavar="INSTANCE")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=0, help="Newest so many of those sent; 0 shows all.")] = MOST,
    as_json: JsonOption = False,
) -> None:
    """List results that wait or were given up, then those sent, the newest first.

    \b
    xrayq report list
    xrayq report list --limit 0 --json | jq '.[] | select(.state == "given_up") | .instance'
    """
    from worker.db.session import snapshot
    from worker.reporting.listing import beside_settings, listed

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        results = beside_settings(listed(connection, limit=limit), _destinations(settings))
    if as_json:
        print_json([result.as_dict() for result in results])
        return
    if not results:
        to_do = "" if settings.results_to else ": XRAYQ_RESULTS_TO names no destination"
        typer.echo(f"no results were sent, none wait{to_do}")
        return
    _print(results, settings.zone)


@app.command()
def show(name: Name, as_json: JsonOption = False) -> None:
    """Show what became of an instance's results at each destination, and the objects it holds.

    With a SOP Instance UID: of every revision of the film.

    \b
    xrayq report show 17
    xrayq report show 17 --json
    """
    from worker.db.session import snapshot
    from worker.instances import find
    from worker.reporting.listing import beside_settings, of_instance

    settings = load_settings()
    engine = open_database(settings)
    views = find(engine, name)
    with snapshot(engine) as connection:
        found = [result for view in views for result in of_instance(connection, view.id)]
    results = beside_settings(found, _destinations(settings))
    if as_json:
        print_json([result.as_dict() for result in results])
        return
    if not results:
        states = ", ".join(f"instance {view.id} is {view.state}" for view in views)
        typer.echo(f"no result was sent, none waits: {states}")
        return
    _print(results, settings.zone)
    from pydicom.uid import UID

    console = wide_console()
    for result in results:
        for message in result.messages:
            said = f"  {message.kind} message {message.message_id}, answered {message.answer}"
            console.print(f"{said}, SHA-256 {message.digest}", style="dim")
        for sent in result.objects:
            warning = f", warning 0x{sent.status:04X}" if sent.status else ""
            console.print(f"  {UID(sent.sop_class_uid).name} {sent.sop_instance_uid}{warning}", style="dim")
            console.print(f"    series {sent.series_instance_uid}, SHA-256 {sent.digest}", style="dim")
            console.print(f"    {_said(sent, settings.zone)}", style="dim")


@app.command()
def hl7(
    name: Name,
    to: Annotated[
        str, typer.Option(help="The receiver, as in XRAYQ_RESULTS_TO: the message control ID follows from it.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show the HL7 message of an instance's result as it would be sent, one segment a line. Nothing is sent.

    It holds the patient's name. A UID means its newest film. To try a template,
    name its file in XRAYQ_HL7_TEMPLATE.

    \b
    xrayq report hl7 17
    XRAYQ_HL7_TEMPLATE=ours.toml xrayq report hl7 17
    """
    from worker.bundles.roles import default_of
    from worker.processes.parts import open_spool
    from worker.processes.result_options import message_options
    from worker.processes.result_options import routes as routes_by
    from worker.reporting.destinations import Hl7Destination
    from worker.reporting.preview import preview
    from worker.setting_values import HL7_CHARACTER_SETS

    settings = load_settings()
    options, engine = message_options(settings), open_database(settings)
    view = newest_admitted(engine, name)
    receivers = [found for found in routes_by(settings).of(view.calling_ae) if isinstance(found, Hl7Destination)]
    shown = preview(
        engine,
        open_spool(settings),
        view.id,
        options,
        destination=to or next((receiver.name for receiver in receivers), NO_RECEIVER),
        zone=settings.zone,
        default=default_of(settings.bundle),
    )
    lines = shown.content.decode(HL7_CHARACTER_SETS[options.character_set]).rstrip("\r").split("\r")
    if as_json:
        print_json({"destination": shown.destination, "message_id": shown.control_id, "segments": lines})
        return
    for line in lines:
        typer.echo(line)


@app.command()
def resend(
    names: Annotated[
        list[str] | None, typer.Argument(help="Instance ids, or SOP Instance UIDs of films.", metavar="INSTANCE...")
    ] = None,
    undelivered: Annotated[
        bool,
        typer.Option("--undelivered", help="All that was given up, or waits for a destination that is no longer set."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send results again, to where they go now. The objects have the same UIDs, so none is doubled at the PACS.

    A UID means its newest film. What waits of them, or was given up, is
    replaced; a film with a newer revision has nothing to send. Films rejected
    with 'xrayq instance reject' have a result too: it says so, and is sent with
    this command alone.

    \b
    xrayq report resend 17
    xrayq report resend --undelivered
    """
    from worker.bundles.roles import default_of
    from worker.processes.result_options import routes as routes_by
    from worker.reporting import resend as again

    settings = load_settings()
    if bool(names) == undelivered:
        raise ConfigurationError("name instances, or give --undelivered")
    engine, routes = open_database(settings), routes_by(settings)
    named = [newest_admitted(engine, name).id for name in names or ()]
    ids = again.undelivered(engine, routes) if undelivered else named
    default = default_of(settings.bundle)
    resent, left = [], []
    for instance_id in ids:
        try:
            resent.append(again.resend(engine, instance_id, routes, default=default, actor=operator()))
        except (NotFound, WrongState) as error:
            if not undelivered:
                raise
            left.append({"instance": instance_id, "why": str(error)})
    if as_json:
        print_json({"resent": [one.as_dict() for one in resent], "left": left})
        return
    for one in resent:
        if one.replaced_by:
            newer = f"was replaced by {one.replaced_by}, whose result counts"
            typer.echo(f"instance {one.instance} {newer}: nothing is sent")
            continue
        names = [destination.name for destination in one.destinations]
        new = [name for name in names if name not in one.had]
        ways = [f"to {', '.join(one.had)} again"] if one.had else []
        ways += [f"to {', '.join(new)}"] if new else []
        typer.echo(f"instance {one.instance} goes {', and '.join(ways)}")
    for one_left in left:
        typer.echo(f"not sent: {one_left['why']}", err=True)
    if not ids:
        typer.echo("nothing was given up, and nothing waits for a destination that is no longer set")


def _destinations(settings: "Settings") -> list[str]:
    """Names of those in force."""
    from worker.processes.result_options import routes as routes_by

    return [destination.name for destination in routes_by(settings).every]


def _said(sent: "ListedObject", zone: "ZoneInfo") -> str:
    """What the destination says of an object."""
    from dicom_gateway.commitment import FAILURES
    from worker.reporting.faults import STATUS_COUNTS, in_words

    words = []
    if sent.committed_at:
        words.append(f"storage commitment {clock(sent.committed_at, zone)}")
    if sent.failure_reason is not None:
        meaning = FAILURES.get(sent.failure_reason, "a reason of its own")
        words.append(f"no storage commitment, 0x{sent.failure_reason:04X}: {meaning}")
    if sent.found_at:
        words.append(f"found by C-FIND {clock(sent.found_at, zone)}")
    if sent.status_counts_at:
        words.append(in_words(STATUS_COUNTS))
    return "; ".join(words) or "it has not said yet that it holds it"


def _print(results: "list[ListedResult]", zone: "ZoneInfo") -> None:
    from rich.text import Text

    from worker.cli.console import print_rows
    from worker.reporting.faults import in_words
    from worker.reporting.listing import ResultState

    styles = {
        ResultState.WAITS: "cyan",
        ResultState.GIVEN_UP: "red",
        ResultState.SENT: "",
        ResultState.CONFIRMED: "green",
        ResultState.UNCONFIRMED: "red",
    }
    rows = [
        (
            str(result.instance),
            result.destination,
            Text(result.state.replace("_", " "), styles[result.state]),
            clock(result.at, zone),
            str(len(result.objects) + len(result.messages) or ""),
            str(result.attempts or ""),
            clock(result.next_at, zone) if result.next_at else "",
            result.bundle_digest[:12],
            in_words(result.reason),
        )
        for result in results
    ]
    headings = ("instance", "destination", "state", "since", "number sent", "failed", "next try", "bundle", "why")
    console = wide_console()
    print_rows(console, headings, rows, folds=("why",), drops=("bundle",))
    console.print(f"Times are {zone.key}.", style="dim")
