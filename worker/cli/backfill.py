"""xrayq backfill: films that a PACS has of past days, fetched and scored behind the live ones."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    JsonOption,
    clock,
    load_settings,
    must_be_one_of,
    operator,
    past_day,
    print_json,
)
from worker.errors import ConfigurationError, NotFound
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from worker.backfill.options import BackfillOptions
    from worker.backfill.progress import Progress
    from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Films of past days that a PACS of XRAYQ_ASK_PACS has: fetched by the relay, scored behind the live ones.",
)

PacsOption = Annotated[
    str,
    typer.Option(
        "--ae",
        help="AE title of the PACS, as XRAYQ_ASK_PACS names it (TITLE@HOST:PORT); may be left out where it names one.",
    ),
]


@app.command()
def start(
    first: Annotated[
        str, typer.Option("--from", help="First day, by Study Date: YYYY-MM-DD or yesterday. It is fetched too.")
    ],
    last: Annotated[
        str,
        typer.Option("--to", help="Last day, in the same forms, before today. It is fetched too. Default: the first."),
    ] = "",
    ae: PacsOption = "",
    rate: Annotated[float, typer.Option(help="Films a minute, at most.", min=0.1, max=600)] = 30.0,
    hours: Annotated[str, typer.Option(help="Of a day, by XRAYQ_TIME_ZONE, such as 20-06 or 20:30-06:00.")] = "",
    by: Annotated[str, typer.Option(help="move: the PACS sends to our AE title (C-MOVE). get: C-GET.")] = "move",
    sends_as: Annotated[
        str, typer.Option(help="AE title under which the PACS sends, where that is not --ae.", metavar="AE")
    ] = "",
) -> None:
    """Begin to fetch what a PACS has of these days and what is not here. Returns at once: the relay does it.

    Which films: as of 'xrayq pacs missing'. The newest day comes first. It rests
    while live films wait, outside its hours, and while the disk is near its
    reserve. A film that does not come is asked for five times within half an
    hour. One backfill of a PACS at a time.

    \b
    xrayq backfill start --from 2026-10-01 --to 2026-10-31 --hours 20-06
    xrayq backfill start --from yesterday --ae ARCHIVE --rate 60 --by get
    """
    from datetime import datetime

    from dicom_gateway.peers import Policy
    from worker.backfill import jobs
    from worker.backfill.before import must_be_let_in
    from worker.backfill.options import Way, hours_of
    from worker.db.session import reading
    from worker.peers import table
    from worker.processes.result_options import routes
    from worker.reporting.outlook import outlook_of_backfill

    settings = load_settings()
    options = _options(settings)
    pacs = options.pacs(_title(options, ae))
    assert pacs is not None
    must_be_one_of(by, [way.value for way in Way], "--by")
    begin = past_day(first, settings.zone, "--from")
    end = past_day(last, settings.zone, "--to") if last else begin
    if end < begin:
        raise ConfigurationError(f"--to {end} is before --from {begin}")
    if end >= datetime.now(settings.zone).date():
        raise ConfigurationError(
            f"--to {end} is not over: a backfill is of past days, and today's films come by themselves"
        )
    try:
        written = hours_of(hours)
    except ValueError:
        raise ConfigurationError(
            f"--hours {hours}: should be two different times, such as 20-06 or 20:30-06:00"
        ) from None
    database, later = open_database(settings), "" if by == Way.MOVE else _spool(settings)
    title = sends_as if sends_as and by == Way.MOVE else pacs.called_ae
    with reading(database) as connection:
        if by == Way.MOVE:
            policy = Policy(settings.unknown_peers) if settings.unknown_peers else None
            later = must_be_let_in(table.read(connection), policy, pacs, sends_as, settings.calling_aes)
        results = outlook_of_backfill(connection, routes(settings), title)
    job = jobs.start(
        database,
        pacs.called_ae,
        (begin, end),
        rate=rate,
        hours=written,
        way=Way(by),
        sends_as=sends_as,
        actor=operator(),
    )
    typer.echo(
        f"backfill of {job.pacs} from {begin} to {end}, {rate:g} films a minute at most"
        f"{f', {written} {settings.zone.key}' if written else ''}: 'xrayq backfill status' shows how far it is"
    )
    for note in filter(None, (later, f"results: {results}")):
        typer.echo(note)


@app.command()
def status(as_json: JsonOption = False) -> None:
    """How far each backfill is, what did not come and why, and why it rests. Those that have not ended come first.

    \b
    xrayq backfill status
    xrayq backfill status --json | jq '.[0].failed'
    """
    from worker.backfill import jobs
    from worker.backfill.progress import progress
    from worker.db.session import snapshot

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        found = [progress(connection, job) for job in jobs.newest(connection)]
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    if not found:
        typer.echo("no backfill yet: 'xrayq backfill start'")
    for one in found:
        _print(one, settings.zone)


@app.command()
def pause(ae: PacsOption = "") -> None:
    """Ask for no more film until 'resume'. The PACS is told to stop; a film on its way still comes.

    \b
    xrayq backfill pause
    """
    from worker.backfill import jobs

    settings = load_settings()
    job = jobs.pause(open_database(settings), _open_title(settings, ae), actor=operator())
    typer.echo(f"backfill of {job.pacs} paused: 'xrayq backfill resume --ae {job.pacs}' goes on")


@app.command()
def resume(ae: PacsOption = "") -> None:
    """Go on after a pause, or where it rests. Films and days that failed are asked for again.

    \b
    xrayq backfill resume
    """
    from worker.backfill import jobs

    settings = load_settings()
    job = jobs.resume(open_database(settings), _open_title(settings, ae), actor=operator())
    typer.echo(f"backfill of {job.pacs} goes on")


@app.command()
def cancel(ae: PacsOption = "") -> None:
    """End it. What came stays; what was asked for may still come, and waits behind live films as the rest did.

    \b
    xrayq backfill cancel --ae ARCHIVE
    """
    from worker.backfill import jobs

    settings = load_settings()
    job = jobs.cancel(open_database(settings), _open_title(settings, ae), actor=operator())
    typer.echo(f"backfill of {job.pacs} cancelled")


def _options(settings: "Settings") -> "BackfillOptions":
    from worker.processes.backfill_options import backfill_options

    options = backfill_options(settings)
    if options is None:
        raise ConfigurationError("XRAYQ_ASK_PACS names no PACS")
    return options


def _spool(settings: "Settings") -> str:
    """What is wrong with it as this machine has it; the relay's may be another."""
    from worker.errors import Unhealthy
    from worker.health import probes
    from worker.processes.parts import open_spool

    try:
        probes.spool(open_spool(settings))
    except Unhealthy as error:
        return f"the relay must be able to write into the spool, with --by get; on this machine: {error}"
    return ""


def _title(options: "BackfillOptions", ae: str) -> str:
    names = [pacs.called_ae for pacs in options.ask.pacs]
    if not ae and len(names) > 1:
        raise ConfigurationError(f"--ae: XRAYQ_ASK_PACS names {', '.join(names)}")
    if ae:
        must_be_one_of(ae, names, "--ae")
    return ae or names[0]


def _open_title(settings: "Settings", ae: str) -> str:
    """Of a backfill that has not ended, also where XRAYQ_ASK_PACS names its PACS no more."""
    from worker.backfill import jobs
    from worker.db.session import snapshot

    with snapshot(open_database(settings)) as connection:
        names = [job.pacs for job in jobs.newest(connection) if job.ended_at is None]
    if ae or len(names) == 1:
        return ae or names[0]
    if names:
        raise ConfigurationError(f"--ae: there are backfills of {', '.join(names)}")
    raise NotFound("no backfill is open: 'xrayq backfill status' shows the last ones")


def _print(found: "Progress", zone: "ZoneInfo") -> None:
    from worker.pacs.words import fault_in_words
    from worker.words import counted

    job = found.job
    hours = f", {job.hours} {zone.key}" if job.hours else ""
    ended = f" {clock(job.ended_at, zone)}" if job.ended_at else ""
    typer.echo(
        f"{job.pacs}  {job.first_day} to {job.last_day}  {job.state}{ended}  by {job.way}, "
        f"{job.rate:g} films a minute at most{hours}; since {clock(job.started_at, zone)} by {job.started_by}"
    )
    left = f"{found.on_the_way} on the way, {found.wanted} wanted, {found.quarantined} quarantined"
    if job.ended_at:
        left = f"{found.left} left when it ended"
    typer.echo(
        f"  films: {found.here} fetched, {left}, {sum(found.failed.values())} failed; "
        f"{found.here_before} were here before"
    )
    typer.echo(f"  days: {found.days - found.days_left} of {found.days} asked for")
    for code, number in found.days_failed.items():
        typer.echo(f"  {counted(number, 'day')} given up, films not known: {fault_in_words(code)}")
    for line in found.failed_in_words():
        typer.echo(f"  failed: {line}")
    for line in found.tried_in_words():
        typer.echo(f"  asked again: {line}")
    if job.ended_at is None:
        over = "no end in sight"
        if found.over_at and not found.tried_in_words():
            over = f"will end at about {clock(found.over_at, zone)}, if all goes well"
        typer.echo(f"  speed: {found.films_a_minute:g} films a minute in the last ten minutes; {over}")
        if found.rests:
            since = f" since {clock(found.rests_since, zone)}" if found.rests_since else ""
            typer.echo(f"  rests{since}: {found.rests}")
    if found.unscored and found.oldest_unscored:
        since = clock(found.oldest_unscored, zone)
        typer.echo(f"  not scored yet, behind live films: {found.unscored}, the oldest since {since}")
