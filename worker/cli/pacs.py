"""xrayq pacs: what the PACS has, and what of it did not come."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import JsonOption, clock, load_settings, past_day, print_json, wide_console
from worker.errors import ConfigurationError, NotAsked, Unhealthy, WorkerError
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from worker.pacs.ask import Asked
    from worker.pacs.options import AskOptions
    from worker.settings import Settings

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="PACSs that are asked which films they have (XRAYQ_ASK_PACS)."
)

From = Annotated[str, typer.Option("--from", help="First Study Date: YYYY-MM-DD, today or yesterday.")]
To = Annotated[str, typer.Option("--to", help="Last Study Date; default: the first.")]


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Ask each PACS for today's studies, and say whether it answers. Exit code 5 when one does not.

    \b
    xrayq pacs check
    """
    import time
    from datetime import datetime

    from dicom_gateway.study_window import StudyWindow
    from worker.pacs.listing import opened
    from worker.pacs.words import fault_in_words

    settings = load_settings()
    options = _options(settings)
    today = datetime.now(settings.zone).date()
    rows: list[dict[str, Any]] = []
    for pacs in options.pacs:
        begun, fault, studies = time.monotonic(), "", 0
        try:
            with opened(pacs, options, until=begun + options.total_seconds) as contents:
                studies = len(contents.studies(StudyWindow(first=today, last=today), options.modalities))
        except NotAsked as failed:
            fault = str(failed)
        seconds = round(time.monotonic() - begun, 2)
        rows.append({"pacs": pacs.called_ae, "fault": fault or None, "studies": studies, "seconds": seconds})
    faults = [f"{row['pacs']}: {fault_in_words(row['fault'])}" for row in rows if row["fault"]]
    if as_json:
        print_json(rows)
        if faults:
            raise typer.Exit(Unhealthy.exit_code)
        return
    for row in rows:
        if not row["fault"]:
            typer.echo(f"{row['pacs']} answers: {row['studies']} studies of today, in {row['seconds']} s")
    if faults:
        raise Unhealthy("; ".join(faults))


@app.command()
def missing(
    first: From = "yesterday",
    last: To = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the answers, for the alarm and for reports that are made again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask each PACS which chest films it has, and name those that did not come and why. Exit code 1 when there are any.

    Films are found by Study Date, and count by modality and body part, as the
    gate would count them. A film that is younger than XRAYQ_ASK_SETTLED_MINUTES may
    still be on its way. Exit code 5 when a PACS did not answer to the end.

    \b
    xrayq pacs missing
    xrayq pacs missing --from 2026-11-01 --to 2026-11-27
    xrayq pacs missing --json | jq -r '.[].missing[].sop_instance_uid'
    """
    import time
    from dataclasses import replace
    from datetime import timedelta

    from worker.pacs import ask as asking

    settings = load_settings()
    options = _options(settings)
    begin = past_day(first, settings.zone, "--from")
    end = past_day(last, settings.zone, "--to") if last else begin
    if end < begin:
        raise ConfigurationError(f"--to {end} is before --from {begin}")
    days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    options = replace(options, total_seconds=options.total_seconds * len(days))
    database, found = open_database(settings), []
    for pacs in options.pacs:
        until = time.monotonic() + options.total_seconds
        for asked in asking.ask(database, pacs, days, options, until=until):
            found.append(asked)
            if keep:
                asking.keep(database, asked)
    _print(found, as_json)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List films that a PACS had when it was asked, and that have not come since; the newest first.

    Nobody is asked: these are the answers of the nights, as the alarm counts them.

    \b
    xrayq pacs list
    xrayq pacs list --json | jq -r '.[].sop_instance_uid'
    """
    from model.json_value import plain
    from worker.cli.console import print_rows
    from worker.db.session import snapshot
    from worker.pacs import kept
    from worker.pacs.words import why_in_words

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        films = kept.listed(connection)
    if as_json:
        print_json(plain(films))
        return
    if not films:
        typer.echo("no film is missing, of those that a PACS was asked for")
        return
    rows = [
        (
            str(film.id),
            film.pacs,
            film.film_at,
            film.modality,
            why_in_words(film.why, film.status, film.calling_ae),
            film.sop_instance_uid,
            clock(film.found_at, settings.zone),
        )
        for film in films
    ]
    console = wide_console()
    print_rows(console, ("film", "PACS", "made", "modality", "why", "SOP Instance UID", "asked"), rows, folds=("why",))


def _options(settings: "Settings") -> "AskOptions":
    from worker.processes.ask_options import ask_options

    options = ask_options(settings)
    if options is None:
        raise ConfigurationError("XRAYQ_ASK_PACS names no PACS to ask")
    return options


def _print(found: "list[Asked]", as_json: bool) -> None:
    from model.json_value import plain
    from worker.pacs.words import comparison_in_words, fault_in_words, why_in_words

    faults, missing = [], 0
    if as_json:
        print_json(
            [
                {"pacs": one.pacs, "day": one.day.isoformat(), "fault": one.fault or None}
                | (plain(one.comparison) if one.comparison else {})
                for one in found
            ]
        )
    for one in found:
        if one.comparison is None:
            faults.append(f"{one.pacs} did not say what it has of {one.day}: {fault_in_words(one.fault)}")
            continue
        missing += len(one.comparison.missing)
        if as_json:
            continue
        for film in one.comparison.missing:
            why = why_in_words(film.why, film.status, film.calling_ae)
            typer.echo(f"{film.film_at or one.day}  {film.modality}  {film.sop_instance_uid}  {why}")
        typer.echo(f"{comparison_in_words(one.pacs, one.day, one.comparison)}.")
    if as_json and (faults or missing):
        raise typer.Exit(Unhealthy.exit_code if faults else 1)
    if faults:
        raise Unhealthy("; ".join(faults))
    if missing:
        raise WorkerError(f"{missing} {'film is' if missing == 1 else 'films are'} missing")
