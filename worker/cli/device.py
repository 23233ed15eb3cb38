"""xrayq device: of which AEs' films results are sent."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.errors import ConfigurationError
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from worker.reporting.acceptance import Device

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="AEs that send films, and whether their results are sent: silent at first, then accepted.",
)

Title = Annotated[str, typer.Argument(help="AE title of the sender, as 'xrayq device list' shows it.", metavar="AE")]
Reason = Annotated[str, typer.Option(help="At most 200 characters. No patient's name or number.")]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List every AE that sent something: silent or accepted, since when, by whom and why.

    \b
    xrayq device list
    xrayq device list --json
    """
    from worker.db.session import snapshot
    from worker.reporting.acceptance import devices

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        found = devices(connection)
    if as_json:
        print_json([device.as_dict() for device in found])
        return
    if not found:
        typer.echo("nobody has sent anything yet")
        return
    _print(found, settings.zone)


@app.command()
def show(title: Title, as_json: JsonOption = False) -> None:
    """Show an AE, and where its results go.

    \b
    xrayq device show CR1
    """
    from worker.db.session import snapshot
    from worker.reporting.acceptance import find
    from worker.reporting.destinations import routes_of

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        device = find(connection, title)
    destinations = [destination.name for destination in routes_of(settings.results_to).of(title)]
    if as_json:
        print_json(device.as_dict() | {"destinations": destinations})
        return
    _print([device], settings.zone)
    typer.echo(f"Results go to {', '.join(destinations)}." if destinations else "XRAYQ_RESULTS_TO sends them nowhere.")


@app.command()
def accept(
    title: Title,
    reason: Reason = "",
    without_evidence: Annotated[
        bool, typer.Option("--without-evidence", help="Nothing was measured on its own labelled films.")
    ] = False,
) -> None:
    """Let the results of an AE's films be sent: of those that end from now on.

    Films that ended before stay where they are; 'xrayq report resend' sends one
    of them. Who, when and why are in the audit trail for good.

    \b
    xrayq device accept CR1 --without-evidence --reason 'trial on the test PACS'
    """
    from worker.db.session import reading
    from worker.reporting.acceptance import DeviceState, change, find

    if not (without_evidence and reason.strip()):
        raise ConfigurationError(
            "the go/no-go by exact intervals on the AE's own labelled films is not built yet and comes next: until "
            "then an AE is accepted with --without-evidence and --reason TEXT alone, which the audit trail keeps"
        )
    _must_be_title(title)
    engine = open_database(load_settings())
    change(engine, title, DeviceState.ACCEPTED, reason=_one_line(reason), actor=operator())
    with reading(engine) as connection:
        never = find(connection, title).last_film is None
    typer.echo(f"{title} is accepted without evidence: results of films that end from now on are sent")
    if never:
        typer.echo(f"xrayq: no film of {title} has come yet; 'xrayq device list' shows who sends", err=True)


@app.command()
def silence(title: Title, reason: Reason) -> None:
    """Send no result of an AE's films any more, also none that waits. They are scored as before.

    \b
    xrayq device silence CR1 --reason 'new detector, not measured yet'
    """
    from worker.reporting.acceptance import DeviceState, change

    _must_be_title(title)
    engine = open_database(load_settings())
    change(engine, title, DeviceState.SILENT, reason=_one_line(reason), actor=operator())
    typer.echo(f"{title} is silent: its films are scored, and no result of them is sent")


def _must_be_title(text: str) -> None:
    from worker.setting_values import title

    try:
        title(text)
    except ValueError as error:
        raise ConfigurationError(f"AE {error}") from None


def _one_line(reason: str) -> str:
    from worker.reporting.acceptance import MOST_CHARACTERS

    words = reason.strip()
    if not 0 < len(words) <= MOST_CHARACTERS or not words.isprintable():
        raise ConfigurationError(f"--reason is one line of 1 to {MOST_CHARACTERS} characters")
    return words


def _print(devices: "list[Device]", zone: "ZoneInfo") -> None:
    from rich.text import Text

    from worker.cli.console import print_rows
    from worker.reporting.acceptance import DeviceState

    rows = [
        (
            device.calling_ae,
            Text(device.state, "green" if device.state is DeviceState.ACCEPTED else "yellow"),
            clock(device.changed_at, zone) if device.changed_at else "",
            device.changed_by,
            device.reason,
            clock(device.last_film, zone) if device.last_film else "none",
        )
        for device in devices
    ]
    console = wide_console()
    headings = ("AE", "results", "since", "by", "reason", "newest film")
    print_rows(console, headings, rows, folds=("reason",))
    console.print(f"Times are {zone.key}.", style="dim")
