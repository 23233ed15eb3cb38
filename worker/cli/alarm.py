"""xrayq alarm: what is wrong, what would be, and whether anybody would hear of it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.errors import Unhealthy, WorkerError
from worker.processes.alarm_options import channels
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from worker.alarms.ledger import ListedAlarm
    from worker.queue.errands import Kind
    from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Alarms, their rules, and how people hear of them."
)

UNITS = {
    "seconds": "seconds",
    "minutes": "minutes",
    "hours": "hours",
    "days": "days",
    "mib": "MiB",
    "films": "films",
    "letters": "films",
    "refusals": "refusals",
    "psi": "PSI",
}
"""Unit of a threshold, by the last word of its setting."""


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also the alarms that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the open alarms: since when, what is wrong, and what to do.

    One that was acknowledged says by whom, when and why.

    \b
    xrayq alarm list
    xrayq alarm list --all --json | jq '.[] | select(.rule == "sender_silent")'
    """
    from worker.alarms.ledger import listed
    from worker.db.session import reading

    settings = load_settings()
    with reading(open_database(settings)) as connection:
        alarms = listed(connection, cleared=everything)
    if as_json:
        print_json([alarm.as_dict() for alarm in alarms])
        return
    if not alarms:
        typer.echo("no alarms" if everything else "no open alarms: 'xrayq alarm rules' says what raises one")
        return
    from rich.text import Text

    from worker.cli.console import print_rows

    def until(alarm: "ListedAlarm") -> str | Text:
        if alarm.cleared_at:
            return clock(alarm.cleared_at, settings.zone)
        return Text("acknowledged", "yellow") if alarm.acknowledged else Text("open", "red")

    def to_do(alarm: "ListedAlarm") -> str:
        return "" if alarm.cleared_at or alarm.acknowledged else alarm.advice

    def known_to(alarm: "ListedAlarm") -> str:
        kept = alarm.acknowledged
        return f"{kept['by']} {clock(kept['at'], settings.zone)}: {kept['why']}" if kept else ""

    any_known = any(alarm.acknowledged for alarm in alarms)
    table = [
        (
            str(alarm.id),
            alarm.rule,
            alarm.subject or "-",
            clock(alarm.raised_at, settings.zone),
            until(alarm),
            alarm.text,
            to_do(alarm),
            *([known_to(alarm)] if any_known else []),
        )
        for alarm in alarms
    ]
    console = wide_console()
    sentences = ("what", "what to do", *(["acknowledged by"] if any_known else []))
    print_rows(console, ("id", "rule", "subject", "since", "until", *sentences), table, folds=sentences)
    console.print(f"Times are {settings.time_zone}.", style="dim")


@app.command()
def acknowledge(
    rule: Annotated[str, typer.Argument(help="As 'xrayq alarm list' shows it.", metavar="RULE")],
    why: Annotated[str, typer.Option(help="At most 200 characters. No patient's name or number.")],
    subject: Annotated[str, typer.Argument(help="Likewise; - or nothing where it has none.", metavar="SUBJECT")] = "",
    as_json: JsonOption = False,
) -> None:
    """Say that you know of an open alarm which nobody can mend, and why: a film that is lost for good.

    It stays in the list and in the report, with your reason, until it is
    really over; but status, exit codes and the report's verdict no longer call
    it wrong. When it gets worse it is raised again: another film, more films,
    another measure that drifts. Who, when and why are in the audit trail for
    good, and in reports that leave the house: name films by instance id, and
    write no patient's name or number.

    Exit code 3 when no such alarm is open.

    \b
    xrayq alarm acknowledge unaccounted CR1 --why 'film 17 is lost, came as 42'
    xrayq alarm acknowledge trail_broken --why 'row 47 mended by hand, ticket 8'
    """
    from worker.alarms import acknowledge as known

    about = "" if subject == "-" else subject
    kept = known.acknowledge(open_database(load_settings()), rule, about, why=why, actor=operator())
    if as_json:
        print_json({"rule": rule, "subject": about} | kept.as_dict())
        return
    films = f" ({', '.join(kept.about)})" if kept.about else ""
    typer.echo(f"{f'{rule} {about}'.rstrip()}{films} is acknowledged; it is raised again when it gets worse")


@app.command()
def rules(as_json: JsonOption = False) -> None:
    """Show each rule, its threshold now, and the setting that changes it.

    \b
    xrayq alarm rules
    XRAYQ_ALARM_BACKLOG_SECONDS=120 xrayq alarm rules
    """
    from worker.alarms.rules import RULES

    settings = load_settings()
    rows: list[dict[str, Any]] = [
        {
            "rule": rule.id,
            "when": rule.when.value,
            "threshold": getattr(settings, rule.setting) if rule.setting else None,
            "unit": UNITS[rule.setting.rpartition("_")[2]] if rule.setting else None,
            "setting": f"XRAYQ_{rule.setting.upper()}" if rule.setting else None,
            "meaning": rule.meaning,
            "advice": rule.advice,
        }
        for rule in RULES
    ]
    if as_json:
        print_json(rows)
        return
    from worker.cli.console import print_rows

    table = [
        (
            row["rule"],
            row["when"],
            "-" if row["threshold"] is None else _threshold(row["threshold"], row["unit"]),
            row["setting"] or "-",
            row["meaning"],
            row["advice"],
        )
        for row in rows
    ]
    headings = ("rule", "looked at", "threshold", "setting", "meaning", "what to do")
    print_rows(wide_console(), headings, table, folds=("meaning", "what to do"))


@app.command("test")
def try_(as_json: JsonOption = False) -> None:
    """Send a test message through every configured channel, now, and say what happened.

    Needs neither database nor relay. Where the database answers, what arrived
    is recorded: 'xrayq status' takes the channel as mended. Exit code 5 when a
    channel fails, or none is set: XRAYQ_SMTP_HOST, XRAYQ_WEBHOOK_URL.

    \b
    xrayq alarm test
    xrayq alarm test --json
    """
    from datetime import UTC, datetime

    from worker.alarms.change import AlarmState, Change
    from worker.alarms.faults import in_words
    from worker.errors import Undelivered

    settings = load_settings()
    sends = channels(settings)
    if not sends:
        raise Unhealthy("no channel but the log is configured: set XRAYQ_SMTP_HOST or XRAYQ_WEBHOOK_URL")
    message = Change(
        alarm=0,
        rule="test",
        subject="",
        state=AlarmState.TEST,
        value=0,
        threshold=0,
        text="This is a test. Alarms will arrive here.",
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    results = []
    for kind, send in sends.items():
        try:
            refused = send(message)
            outcome = f"{refused} recipients refused" if refused else "delivered"
        except Undelivered as failure:
            outcome = in_words(str(failure))
        arrived = outcome == "delivered"
        recorded = arrived and _recorded(settings, kind)
        results.append({"channel": kind.value, "delivered": arrived, "outcome": outcome, "recorded": recorded})
    if as_json:
        print_json(results)
    else:
        for result in results:
            beside = "" if result["recorded"] or not result["delivered"] else ", not recorded: no database answers"
            typer.echo(f"{result['channel']:<8} {result['outcome']}{beside}")
    if not all(result["delivered"] for result in results):
        raise typer.Exit(Unhealthy.exit_code)


def _recorded(settings: "Settings", kind: "Kind") -> bool:
    """In the audit trail; False where the database is away or not set up."""
    from sqlalchemy.exc import SQLAlchemyError

    from worker.alarms.deliver import tested

    try:
        tested(open_database(settings), kind, operator())
    except (WorkerError, SQLAlchemyError):
        return False
    return True


def _threshold(value: float, unit: str) -> str:
    return f"{value:g} {unit.removesuffix('s') if value == 1 else unit}"
