"""xrayq demo: the main job, seen from outside."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_gateway.errors import in_hexadecimal
from model.notice import NOTICE
from worker.cli.common import JsonOption, must_exist, print_json, wide_console
from worker.cli.instance_view import STATE_STYLES
from worker.errors import Unhealthy
from worker.processes.parts import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from worker.demo import Ending

AGREEMENT = 0.05
"""Largest difference of a probability between two codings of one film (lossy JPEG has 8 or 12 bits, and
JPEG 2000 comes at a lower resolution). In fp32 it is .007; int8 rounds, and it is .029."""


SHOWN = 3
"""Films of which the whole score is printed."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(demo)


def demo(
    films: Annotated[Path | None, typer.Option(help="Send your own DICOM, PNG or JPEG films instead.")] = None,
    home: Annotated[
        Path | None, typer.Option(help="Keep database and spool here; default: a new folder, removed at the end.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Do not remove the new folder, and say where it is.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start everything in a new folder, send films by C-STORE, and show the scores.

    Of the settings it takes those of the engine, the bundle, decoding and logs.

    \b
    xrayq demo
    XRAYQ_ENGINE=onnxruntime xrayq demo
    xrayq demo --films ~/radiographs --keep
    xrayq demo --json | jq '.[].probabilities'
    """
    from worker import demo as demonstration
    from worker import logs

    logs.configure("ERROR", "text")
    if films:
        must_exist(films)
    with _folder(home, keep=keep) as folder:
        ends = _run(folder, films)
        if as_json:
            print_json([row for ending in ends if (row := _row(ending))])
        else:
            console = wide_console()
            console.print(_table(ends))
            _print_scores(console, ends)
            if not films:
                console.print(demonstration.ABOUT_CHEST)
            console.print(_summary(ends))
            if home or keep:
                console.print(f"database {folder / 'xrayq.db'}\nspool    {folder / 'spool'}", style="dim")
        surprises = [f"{end.film.name} ({end.film.syntax}): {end.state}" for end in ends if not end.as_expected]
        if surprises:
            raise Unhealthy(f"not as expected: {'; '.join(surprises)}")
        if not films and _spread(ends) > AGREEMENT:
            raise Unhealthy(
                f"the same film differs by {_spread(ends):.3f} between transfer syntaxes, more than {AGREEMENT}"
            )


@contextmanager
def _folder(home: Path | None, *, keep: bool) -> "Iterator[Path]":
    """`home`, else a new folder that goes when the block ends, also by Ctrl-C. One where something failed stays."""
    import shutil
    import tempfile

    if home:
        yield home.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="xrayq-demo-"))
    try:
        yield folder
    except Unhealthy:
        keep = True
        raise
    finally:
        if keep:
            typer.echo(f"xrayq: kept {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, films: Path | None) -> "list[Ending]":
    """Push the films to a service in `folder`, and wait until none of them waits."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from worker import demo as demonstration

    sent_folder = folder / "sent"
    make_folder(sent_folder, "--home")
    typer.echo(demonstration.ABOUT_RESULTS, err=True)
    database = f"sqlite:///{folder / 'xrayq.db'}"
    progress_console = Console(stderr=True)
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress_console) as progress:
        preparing = progress.add_task("preparing films", total=None)
        batch = demonstration.own_films(films, sent_folder) if films else demonstration.sample_films(sent_folder)
        progress.update(preparing, total=len(batch), completed=len(batch))
        starting = progress.add_task("starting gateway, relay, worker", total=1)
        with demonstration.service(folder, folder / "up.log") as port:
            progress.update(starting, completed=1)
            pushing = progress.add_task("C-STORE", total=len(batch))
            pushed = demonstration.push(port, batch)
            progress.update(pushing, completed=len(batch))
            stored = sum(status == 0 for _, status, _ in pushed)
            scoring = progress.add_task("scoring", total=stored)

            def done() -> bool:
                left = demonstration.waiting(database)
                progress.update(scoring, completed=stored - left)
                return left == 0

            try:
                seconds = max(demonstration.FINISH_SECONDS, 2.0 * len(batch))
                demonstration.wait_for(done, seconds, f"films still wait, see {folder / 'up.log'}")
            finally:
                ends = demonstration.endings(database, pushed)
    return ends


def _row(ending: "Ending") -> dict[str, Any] | None:
    """One object an instance: a refused push has no instance but a reason; a re-send is its instance's second push."""
    if ending.state == "duplicate":
        return None
    if ending.view is None:
        names = ("revision", "probabilities", "flags", "prediction_set", "unsure", "received_at", "scored_at")
        row: dict[str, Any] = dict.fromkeys(names) | {
            "sop_instance_uid": ending.film.sop_instance_uid,
            "state": "refused",
            "reason": _refusal(ending),
            "calling_ae": "DEMO-PACS",
        }
    else:
        row = ending.view.as_dict()
    intervals = ending.score and {name: finding.interval for name, finding in ending.score.findings.items()}
    about = {"film": ending.film.name, "transfer_syntax": ending.film.syntax}
    return about | row | {"intervals": intervals, "notice": NOTICE}


def _print_scores(console: "Console", ends: "list[Ending]") -> None:
    """All that the first coding of each film got, of SHOWN films; then what its flags promise."""
    from model.errors import BundleError
    from model.pages.texts import point_text
    from worker.cli.bundle import load_bundle
    from worker.cli.instance import EXPLAINED
    from worker.cli.instance_view import print_score

    first: dict[str, Ending] = {}
    for end in ends:
        if end.score and end.state != "duplicate":
            first.setdefault(end.film.name, end)
    shown = list(first.values())[:SHOWN]
    for end in shown:
        assert end.score is not None
        console.print(f"{end.film.name}, {end.film.syntax}", style="bold")
        print_score(console, end.score)
    if len(first) > len(shown):
        console.print(f"and {len(first) - len(shown):,} films more; --json has the intervals of all", style="dim")
    if shown:
        with suppress(BundleError):
            for point in load_bundle(os.environ.get("XRAYQ_BUNDLE") or "reference").operating_points:
                console.print(point_text(point))
        console.print(EXPLAINED, style="dim")


def _refusal(ending: "Ending") -> str:
    return "no answer" if ending.status is None else f"{in_hexadecimal(ending.status)} {ending.comment}"


def _table(ends: "list[Ending]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from worker.words import flags_text

    findings = next((list(end.view.probabilities) for end in ends if end.view and end.view.probabilities), [])
    table = Table(header_style="bold", box=SIMPLE_HEAD)
    table.add_column("film", no_wrap=True)
    table.add_column("transfer syntax")
    table.add_column("view", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for finding in findings:
        table.add_column(finding, justify="right", no_wrap=True)
    table.add_column("flags, or reason")
    table.add_column("latency", justify="right", no_wrap=True)
    for end in ends:
        view = end.view if end.state != "duplicate" else None
        scores = view.probabilities if view else None
        latency = (view.scored_at - view.received_at).total_seconds() if view and view.scored_at else None
        reason = _refusal(end) if end.state == "refused" else (view.reason or "" if view else "same film, no new work")
        table.add_row(
            end.film.name,
            end.film.syntax,
            (end.view.view if end.view else "") or "-",
            Text(end.state, STATE_STYLES.get(end.state, "magenta")),
            *(f"{scores[finding]:.3f}" if scores else "" for finding in findings),
            flags_text(view.flags or [], bool(view.unsure)) if view and scores else reason,
            f"{latency:.2f} s" if latency is not None else "",
        )
    return table


def _summary(ends: "list[Ending]") -> str:
    counts: dict[str, int] = {}
    for end in ends:
        counts[end.state] = counts.get(end.state, 0) + 1
    parts = ", ".join(f"{number} {state}" for state, number in counts.items())
    return f"{len(ends)} objects pushed: {parts}. {NOTICE}"


def _spread(ends: "list[Ending]") -> float:
    """Largest difference of one probability over the scored films."""
    scores = [end.view.probabilities for end in ends if end.view and end.view.probabilities]
    if not scores:
        return 1.0
    return max(max(film[name] for film in scores) - min(film[name] for film in scores) for name in scores[0])
