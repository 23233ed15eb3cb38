"""xrayq audit: proof of what happened."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    JsonOption,
    clock,
    load_settings,
    operator,
    past_day,
    print_json,
    wide_console,
    writing_to,
)
from worker.processes.parts import open_database
from worker.words import counted

if TYPE_CHECKING:
    from worker.nightly.published import ReportRecord
    from worker.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="The audit trail and the report of a day.")


@app.command()
def report(
    day: Annotated[str, typer.Option("--date", help="YYYY-MM-DD, today or yesterday.")] = "yesterday",
    out: Annotated[Path, typer.Option(help="Folder; its files are replaced.")] = Path("runs/audit"),
    as_json: JsonOption = False,
) -> None:
    """Write the report of one day: report.html, report.json and two CSV files.

    The relay makes the same each night at report_time ('xrayq audit reports').
    Per sending AE, what was received by the audit trail beside what became of
    it; turn-around and throughput; flags, scores and dead letters; alarms,
    drift and live performance; room on the disks; and whether the audit trail
    is whole. Exit code 1 when films are not accounted for or the trail is
    broken, and nobody has acknowledged it ('xrayq alarm acknowledge').

    The page opens without a network. It and the JSON name films by id alone;
    instances.csv has their SOP Instance UIDs and stays in the house. refused.csv
    counts the films, presentation contexts and peers that were turned away.

    Of a day that is not over, the report counts films received until now and
    says so first; in the JSON day_over is false, and end is that time.

    \b
    xrayq audit report
    xrayq audit report --date today
    xrayq audit report --date 2026-11-22 --out /srv/reports/2026-11-22
    """
    from worker.errors import ConfigurationError, Unhealthy, WorkerError
    from worker.nightly import drawing
    from worker.processes.night_options import night_options

    settings = load_settings()
    chosen = past_day(day, settings.zone, "--date")
    if out.exists() and out.resolve().is_relative_to(settings.reports.resolve()):
        raise ConfigurationError(f"{out} is the night's, its digest is in the audit trail: take another --out")
    if fault := drawing.fault():
        raise Unhealthy(f"no report: {drawing.advice(fault)}")
    from worker.nightly.files import write_report
    from worker.nightly.headline import judge
    from worker.nightly.words import in_films, in_others

    database = open_database(settings)
    with writing_to(out):
        out.mkdir(parents=True, exist_ok=True)
        report = write_report(database, chosen, night_options(settings), out)
    headline = judge(report)
    if as_json:
        print_json(report.as_dict())
    else:
        if not report.day_over:
            until = f"{clock(report.span.end.isoformat(), settings.zone)} {settings.time_zone}"
            typer.echo(f"{chosen} is not over: films received until {until} are counted")
        received = sum(sender.films_received for sender in report.senders)
        other = sum(sender.other_objects for sender in report.senders)
        beside = f" and {in_others(other)}" if other else ""
        dead = len(report.failed)
        typer.echo(
            f"{report.day} ({report.zone.key}): {in_films(received)}{beside} received, {report.scored} scored, "
            f"{counted(dead, 'dead letter')}, {report.difference} not accounted for. Wrote {out}"
        )
        for known in headline.known:
            typer.echo(known)
    if headline.faults:
        raise WorkerError(" ".join(headline.faults))


@app.command()
def reports(as_json: JsonOption = False) -> None:
    """List the reports that were made each night, newest first, and whether their files are still the same.

    The audit trail holds the SHA-256 of each file. A file that was changed or
    removed since is marked, and a report that a later one replaced. Exit code 1
    when a file was changed.

    \b
    xrayq audit reports
    xrayq audit reports --json | jq '.[] | select(.files != "as made")'
    """
    from worker.db.session import reading
    from worker.nightly import published

    settings = load_settings()
    with reading(open_database(settings)) as connection:
        records = published.reports(connection)[::-1]
    folders = [published.folder_of(settings.reports, report.day) for report in records]
    states = [published.state_of(report, folder) for report, folder in zip(records, folders, strict=True)]
    rows = list(zip(records, folders, states, strict=True))
    if as_json:
        print_json([report.as_dict() | {"folder": str(folder), "files": state} for report, folder, state in rows])
    else:
        _print_reports(rows, settings)
    if "changed" in states:
        raise typer.Exit(1)


def _print_reports(rows: "list[tuple[ReportRecord, Path, str]]", settings: "Settings") -> None:
    """Args: rows: each report with its folder, and whether its files are as they were made."""
    if not rows:
        when = f"the relay makes one each night at {settings.report_time}" if settings.report_time else "none is due"
        typer.echo(f"no night's report yet: {when} (XRAYQ_REPORT_TIME)")
        return
    from worker.cli.console import print_rows

    table = [
        (
            report.day.isoformat(),
            clock(report.at, settings.zone),
            str(report.difference),
            ", ".join(report.alarms) or "-",
            report.digest[:12],
            state,
            str(folder),
        )
        for report, folder, state in rows
    ]
    headings = ("date", "made at", "difference", "alarms", "digest", "files", "folder")
    console = wide_console()
    print_rows(console, headings, table, folds=("alarms",), drops=("folder", "digest"))
    console.print(f"Times are {settings.time_zone}.", style="dim")


@app.command()
def verify(
    head: Annotated[str | None, typer.Option(help="A digest kept elsewhere, which the chain must hold.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Is the audit trail whole? Exit code 1 when a row was altered, removed or slipped in; the message names the first.

    Each row carries the digest of the row before. Somebody who can write the
    database can compute a new chain, or cut its end: a digest that was kept
    elsewhere finds that too. Every film of the database must have its arrival in
    the trail.

    The row that tells of a score carries the digest of the score as it was
    written. A score that was changed since, that is gone, or that no row tells of
    is named by its instance. Scores of a release that kept no digest are counted.

    \b
    xrayq audit verify
    xrayq audit verify --head 3f1c5a9be0d2
    xrayq audit verify --json | jq .scores
    """
    from worker.audit import trail
    from worker.errors import ConfigurationError, WorkerError
    from worker.processes.audit_options import tell_repository

    if head is not None and (len(head) < 12 or set(head) - set("0123456789abcdef")):
        raise ConfigurationError("--head takes the digest, at least twelve characters of it")
    settings = load_settings()
    database = open_database(settings)
    chain = trail.verify(database, head=head or "")
    faults = [chain.scores.fault] if chain.scores.wrong else []
    if chain.fault:
        where = f"row {chain.broken}: " if chain.broken else ""
        faults.insert(0, f"the audit trail is broken after {chain.rows} whole rows: {where}{chain.fault}")
    if faults:
        tell_repository(settings, database, operator(), "; ".join(faults))
    if as_json:
        print_json(chain.as_dict())
        if not chain.whole:
            raise typer.Exit(1)
        return
    if faults:
        raise WorkerError("; ".join(faults))
    typer.echo(f"{chain.rows} rows, whole; {chain.scores.words}. Head {chain.head}")


@app.command()
def messages(
    preview: Annotated[int, typer.Option(min=0, help="Print the messages of the newest N audit events.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Does the site's audit repository (XRAYQ_AUDIT_TO) have everything? Exit code 5 while messages do not arrive.

    The relay sends DICOM audit messages by syslog: what came and from whom, what
    was sent and where to, who was not let in, when a process began and ended.
    What does not arrive is tried again until it does; the audit trail keeps it.

    --preview shows the XML of messages, and sends nothing.

    \b
    xrayq audit messages
    xrayq audit messages --preview 20
    xrayq audit messages --json | jq .waiting
    """
    from worker.audit_messages import feed
    from worker.audit_messages.transport import WORDS
    from worker.db.session import reading
    from worker.errors import Unhealthy
    from worker.processes.audit_options import feed_options

    settings = load_settings()
    database = open_database(settings)
    if preview:
        for xml in feed.newest(database, preview, feed_options(settings)):
            typer.echo(xml)
        return
    with reading(database) as connection:
        stands = feed.standing(connection)
    if as_json:
        print_json({"to": settings.audit_to, "standing": stands.as_dict() if stands else None})
    elif not settings.audit_to:
        typer.echo("no audit repository: XRAYQ_AUDIT_TO names none")
    elif stands is None:
        typer.echo(f"nothing sent to {settings.audit_to} yet: no process has run with it")
    else:
        last = clock(stands.handed_over_at.isoformat(), settings.zone) if stands.handed_over_at else "never"
        since = f", the oldest of {clock(stands.oldest_at.isoformat(), settings.zone)}" if stands.oldest_at else ""
        typer.echo(f"{settings.audit_to}: sent last {last}; {counted(stands.waiting, 'audit event')} waiting{since}")
    if settings.audit_to and stands and stands.failures:
        why = WORDS.get(stands.reason, stands.reason)
        raise Unhealthy(f"{counted(stands.failures, 'attempt')} failed: {why}")


@app.command()
def export(
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
) -> None:
    """Write every audit event as a line of JSON, oldest first. Keep the last line's digest where nobody here can write.

    \b
    xrayq audit export --out audit.jsonl && tail -1 audit.jsonl | jq -r .digest
    """
    from worker.audit import trail

    lines = (json.dumps(trail.as_dict(row), sort_keys=True) for row in trail.events(open_database(load_settings())))
    if out is None:
        for line in lines:
            typer.echo(line)
        return
    count, digest = 0, trail.FIRST
    with writing_to(out), out.open("w", encoding="utf-8") as file:
        for count, line in enumerate(lines, 1):  # noqa: B007
            file.write(line + "\n")
            digest = json.loads(line)["digest"]
    typer.echo(f"{count} rows to {out}. Head {digest}")
