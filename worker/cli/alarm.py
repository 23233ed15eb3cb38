"""xrayq alarm: what is wrong, what would be, and whether anybody would hear of it."""

from typing import Annotated, Any

import typer

from worker.cli.alarm_options import channels
from worker.cli.common import JsonOption, load_settings, open_database, print_json, wide_console
from worker.errors import Unhealthy

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Alarms, their rules, and how they are told.")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also the alarms that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the open alarms: since when, what is wrong, and what to do first.

    \b
    xrayq alarm list
    xrayq alarm list --all --json | jq '.[] | select(.rule == "sender_silent")'
    """
    from worker.alarms.ledger import listed
    from worker.db.session import reading

    with reading(open_database(load_settings())) as connection:
        rows = listed(connection, cleared=everything)
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("no alarms" if everything else "no open alarms")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "rule", "subject", "since", "until", "what", "first", header_style="bold")
    for row in rows:
        style = "dim" if row["cleared_at"] else "red"
        table.add_row(
            str(row["id"]),
            row["rule"],
            escape(row["subject"]) or "-",
            _minute(row["raised_at"]),
            _minute(row["cleared_at"]) if row["cleared_at"] else "open",
            escape(row["text"]),
            "" if row["cleared_at"] else row["advice"],
            style=style,
        )
    console = wide_console()
    console.print(table)
    console.print("Times are UTC.", style="dim")


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
            "setting": f"XRAYQ_{rule.setting.upper()}" if rule.setting else None,
            "meaning": rule.meaning,
            "advice": rule.advice,
        }
        for rule in RULES
    ]
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("rule", "looked at", "threshold", "setting", "meaning", "first", header_style="bold")
    for row in rows:
        threshold = "-" if row["threshold"] is None else f"{row['threshold']:g}"
        table.add_row(row["rule"], row["when"], threshold, row["setting"] or "-", row["meaning"], row["advice"])
    wide_console().print(table)


@app.command("test")
def try_(as_json: JsonOption = False) -> None:
    """Send a test message through every configured channel, now, and say what happened.

    Needs neither database nor relay. Exit code 5 when a channel fails or
    none is configured: set XRAYQ_SMTP_HOST or XRAYQ_WEBHOOK_URL.

    \b
    xrayq alarm test
    xrayq alarm test --json
    """
    from datetime import UTC, datetime

    from worker.alarms.change import Change, State, Undelivered

    sends = channels(load_settings())
    if not sends:
        raise Unhealthy("no channel but the log is configured: set XRAYQ_SMTP_HOST or XRAYQ_WEBHOOK_URL")
    message = Change(
        alarm=0,
        rule="test",
        subject="",
        state=State.TEST.value,
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
            outcome = str(failure)
        results.append({"channel": kind.value, "delivered": outcome == "delivered", "outcome": outcome})
    if as_json:
        print_json(results)
    else:
        for one in results:
            typer.echo(f"{one['channel']:<8} {one['outcome']}")
    if not all(one["delivered"] for one in results):
        raise typer.Exit(Unhealthy.exit_code)


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
