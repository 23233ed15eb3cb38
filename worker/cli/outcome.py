"""xrayq outcome: what became of studies."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.common import JsonOption, clock, load_settings, print_json, wide_console
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from worker.reporting.listing import ListedResult
    from worker.studies.view import StudyInFull, StudyView

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Studies: which film counts, and what was sent.")

MOST = 100
STYLES = {"flagged": "red", "unsure": "yellow", "failed": "red", "waiting": "cyan", "not_analysed": "yellow"}
Uid = Annotated[str, typer.Argument(help="Study Instance UID.", metavar="STUDY_UID")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=0, help="Newest so many; 0 shows all.")] = MOST,
    as_json: JsonOption = False,
) -> None:
    """List studies with their outcome, the newest first.

    The outcome is that of one film; results are counted of every film of the
    study, also of those that a correction replaced.

    \b
    xrayq outcome list
    xrayq outcome list --limit 0 --json | jq '.[] | select(.outcome == "failed") | .study_instance_uid'
    """
    from worker.db.session import snapshot
    from worker.reporting import listing
    from worker.studies import view

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        studies = view.list_studies(connection, limit=limit)
        study_of = view.studies_of_films(connection, limit=limit)
        results = listing.of_instances(connection, view.film_ids(limit=limit))
    states: dict[str, Counter[str]] = {study.study_instance_uid: Counter() for study in studies}
    for instance_id, of_film in results.items():
        states[study_of[instance_id]].update(result.state.value for result in of_film)
    if as_json:
        print_json([study.as_dict() | {"results": states[study.study_instance_uid]} for study in studies])
        return
    if not studies:
        typer.echo("no study has come yet")
        return
    _print_list(studies, states, settings.zone)


@app.command()
def show(study_uid: Uid, as_json: JsonOption = False) -> None:
    """Show a study: its outcome, each film and its part in it, and what was sent where.

    The outcome is that of one film, chosen before any score is looked at: of
    the scored films, each in its newest revision, the one received last. A
    study is complete when nothing more of it came for XRAYQ_STUDY_SECONDS and
    its films have ended; what comes later opens it again.

    \b
    xrayq outcome show 1.2.826.0.1.3680043.8.498.1
    xrayq outcome show 1.2.826.0.1.3680043.8.498.1 --json
    """
    from worker.db.session import snapshot
    from worker.reporting.listing import of_instance
    from worker.studies.view import find

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        found = find(connection, study_uid)
        results = [result for film in found.films for result in of_instance(connection, film.id)]
    if as_json:
        print_json(found.as_dict() | {"results": [result.as_dict() for result in results]})
        return
    console = wide_console()
    _print_study(console, found, settings.zone)
    _print_results(console, results, settings.zone)
    console.print(f"Times are {settings.zone.key}. {NOTICE}", style="dim")


def _print_list(studies: "list[StudyView]", states: dict[str, Counter[str]], zone: "ZoneInfo") -> None:
    from rich.text import Text

    from worker.cli.console import print_rows

    def results(study: "StudyView") -> str:
        of_study = states[study.study_instance_uid]
        return ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in of_study.items())

    rows = [
        (
            study.study_instance_uid,
            Text(study.outcome.replace("_", " "), STYLES.get(study.outcome, "")),
            (study.complete_at and study.reason) or "",
            clock(study.first_received_at, zone),
            clock(study.complete_at, zone) if study.complete_at else "",
            str((study.complete_at and study.films) or ""),
            str((study.complete_at and study.used_instance_id) or ""),
            results(study),
        )
        for study in studies
    ]
    headings = ("study", "outcome", "why", "since", "complete", "films", "used", "results of all films")
    console = wide_console()
    print_rows(console, headings, rows, folds=("study",))
    console.print(f"Times are {zone.key}. {NOTICE}", style="dim")


def _print_study(console: "Console", found: "StudyInFull", zone: "ZoneInfo") -> None:
    from rich.text import Text

    from model.findings import spoken_findings
    from worker.cli.console import print_rows

    study = found.study
    outcome = Text(study.outcome.replace("_", " "), STYLES.get(study.outcome, ""))
    if study.complete_at:
        outcome.append(f"{f' ({study.reason})' if study.reason else ''}, complete {clock(study.complete_at, zone)}")
    else:
        outcome.append(f", complete {clock(study.quiet_until, zone)} at the earliest")
    if study.before:
        outcome.append(f"; {study.before.replace('_', ' ')} before")
    console.print(f"study {study.study_instance_uid}")
    console.print(outcome)
    if study.changed_at:
        console.print(f"version {study.version} of its outcome, since {clock(study.changed_at, zone)}")
    if study.bundle_digest:
        console.print(f"scored by the bundle {study.bundle_digest[:12]}")
    if study.other_objects:
        console.print(f"{study.other_objects} other object{'' if study.other_objects == 1 else 's'}")
    if len(found.senders) > 1:
        console.print(f"Its films came from {', '.join(found.senders)}.", style="yellow")
    if found.accession_numbers > 1:
        console.print(
            f"Its films name {found.accession_numbers} Accession Numbers: two studies may have the same UID.",
            style="yellow",
        )
    rows = [
        (
            str(film.id),
            str(film.revision),
            film.state,
            film.view,
            film.calling_ae,
            clock(film.received_at, zone),
            spoken_findings(found.flags.get(film.id, ())),
            found.part_of(film),
        )
        for film in found.films
    ]
    headings = ("film", "revision", "state", "view", "AE", "received", "flags", "part")
    print_rows(console, headings, rows, folds=("part",))
    for film in found.flagged_beside:
        flags = spoken_findings(found.flags[film.id])
        console.print(f"Film {film.id} has a flag, {flags}, that the outcome does not tell of.", style="yellow")


def _print_results(console: "Console", results: "list[ListedResult]", zone: "ZoneInfo") -> None:
    from worker.cli.console import print_rows
    from worker.reporting.faults import in_words

    rows = [
        (
            str(result.instance),
            result.destination,
            result.state.replace("_", " "),
            clock(result.at, zone),
            str(len(result.objects) or ""),
            in_words(result.reason),
        )
        for result in results
    ]
    if not rows:
        console.print("No result of it was sent, and none waits.")
        return
    headings = ("film", "destination", "result", "at", "objects", "why")
    print_rows(console, headings, rows, folds=("why",))
