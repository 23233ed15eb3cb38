"""xrayq device: of which AEs' films results are sent."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.errors import ConfigurationError
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Engine

    from worker.monitoring.device_evidence import DeviceEvidence
    from worker.reporting.acceptance import Device
    from worker.settings import Settings

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
    from worker.bundles.roles import live_digest
    from worker.db.session import snapshot
    from worker.reporting.acceptance import devices

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        found, live = devices(connection), live_digest(connection, settings.bundle)
    if as_json:
        print_json([device.as_dict() for device in found])
        return
    if not found:
        typer.echo("nobody has sent anything yet")
        return
    _print(found, live, settings.zone)


@app.command()
def show(title: Title, as_json: JsonOption = False) -> None:
    """Show an AE, where its results go, and on what evidence it was accepted.

    \b
    xrayq device show CR1
    """
    from worker.bundles.roles import live_digest
    from worker.db.session import snapshot
    from worker.reporting.acceptance import find
    from worker.reporting.destinations import routes_of
    from worker.status.device_words import kept_lines

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        device, live = find(connection, title), live_digest(connection, settings.bundle)
    destinations = [destination.name for destination in routes_of(settings.results_to).of(title)]
    if as_json:
        print_json(device.as_dict() | {"destinations": destinations})
        return
    _print([device], live, settings.zone)
    for line in kept_lines(device, live):
        typer.echo(line)
    typer.echo(f"Results go to {', '.join(destinations)}." if destinations else "XRAYQ_RESULTS_TO sends them nowhere.")


@app.command()
def check(title: Title, as_json: JsonOption = False) -> None:
    """Hold an AE's own labelled films against the written rule, and change nothing.

    Of each flag the sensitivity and the specificity on films of the AE, by exact
    limits, against what the live bundle had where it was calibrated less a
    margin (XRAYQ_ACCEPTANCE_MARGIN). Films count that 'xrayq labels sample' drew,
    that the live bundle scored live, and on which readers agree; of an AE that
    was ever silenced, those that came since. Exit code 6 unless it is a go.

    \b
    xrayq device check CR1
    xrayq device check CR1 --json | jq '.rates[] | select(.state != "met")'
    """
    from worker.status.device_words import next_step
    from worker.status.devices import must_be_title

    must_be_title(title)
    settings = load_settings()
    device, evidence = _evidence(open_database(settings), settings, title)
    _tell(device, evidence, as_json=as_json)
    if not as_json:
        typer.echo(next_step(evidence))


@app.command()
def accept(
    title: Title,
    reason: Reason = "",
    without_evidence: Annotated[
        bool, typer.Option("--without-evidence", help="Whatever its labelled films say; needs --reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let the results of an AE's films be sent: of those that end from now on.

    Only where 'xrayq device check' says go, or with --without-evidence. An AE
    that is accepted already is accepted on the new evidence. Films that ended
    before stay where they are; 'xrayq report resend' sends one of them. Who,
    when, why and all figures are in the audit trail for good.

    \b
    xrayq device accept CR1
    xrayq device accept CR1 --without-evidence --reason 'trial on the test PACS'
    """
    from worker.db.session import reading
    from worker.reporting import acceptance
    from worker.status.device_words import next_step
    from worker.status.devices import must_be_title, standing_alarms

    if without_evidence and not reason.strip():
        raise ConfigurationError("--without-evidence needs --reason TEXT, which the audit trail keeps")
    must_be_title(title)
    words = acceptance.line_of(reason) if reason.strip() else ""
    settings = load_settings()
    engine = open_database(settings)
    evidence = None
    if not without_evidence:
        device, evidence = _evidence(engine, settings, title)
        _tell(device, evidence, as_json=as_json)
    device = acceptance.accept(engine, title, reason=words, actor=operator(), evidence=evidence)
    if as_json and not evidence:
        print_json(device.as_dict())
    if not as_json:
        how = f", {next_step(evidence)}" if evidence else " without evidence"
        typer.echo(f"{title} is accepted{how}; results of films that end from now on are sent")
    if device.last_film is None:
        typer.echo(f"xrayq: no film of {title} has come yet; 'xrayq device list' shows who sends", err=True)
    with reading(engine) as connection:
        for rule, subject in standing_alarms(connection, title):
            typer.echo(f"xrayq: the alarm {rule} of {subject} stands: 'xrayq alarm list'", err=True)


@app.command()
def silence(title: Title, reason: Reason) -> None:
    """Send no result of an AE's films any more, also none that waits. They are scored as before.

    \b
    xrayq device silence CR1 --reason 'new detector, not measured yet'
    """
    from worker.reporting import acceptance
    from worker.status.devices import must_be_title

    must_be_title(title)
    acceptance.silence(open_database(load_settings()), title, reason=reason, actor=operator())
    typer.echo(f"{title} is silent: its films are scored, and no result of them is sent")


def _evidence(engine: "Engine", settings: "Settings", title: str) -> "tuple[Device, DeviceEvidence]":
    """Raises NotFound where the AE sent nothing."""
    from worker.bundles.changes import live_bundle
    from worker.status.devices import evidence_of

    return evidence_of(engine, live_bundle(engine, settings.bundle), title, margin=settings.acceptance_margin)


def _tell(device: "Device", evidence: "DeviceEvidence", *, as_json: bool) -> None:
    """What was found. Raises NotAccepted unless it is a go."""
    from worker.status.devices import must_be_go

    if as_json:
        print_json(evidence.as_dict())
    else:
        from worker.cli.device_view import show

        show(wide_console(), evidence)
    must_be_go(device, evidence)


def _print(devices: "list[Device]", live: str, zone: "ZoneInfo") -> None:
    """
    Args:
        live: digest of the live bundle; "" where it is not known.
    """
    from rich.text import Text

    from worker.cli.console import print_rows
    from worker.reporting.acceptance import DeviceState
    from worker.status.device_words import kept_word

    rows = [
        (
            device.calling_ae,
            Text(device.state, "green" if device.state is DeviceState.ACCEPTED else "yellow"),
            clock(device.changed_at, zone) if device.changed_at else "",
            device.changed_by,
            device.reason,
            kept_word(device, live),
            clock(device.last_film, zone) if device.last_film else "none",
        )
        for device in devices
    ]
    console = wide_console()
    headings = ("AE", "results", "since", "by", "reason", "evidence", "newest film")
    print_rows(console, headings, rows, folds=("reason",))
    console.print(f"Times are {zone.key}.", style="dim")
