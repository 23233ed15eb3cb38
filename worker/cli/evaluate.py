"""xrayq evaluate: what a bundle is worth on labelled films, as JSON and as a page."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.common import (
    PREPARE,
    JsonOption,
    UnseenOption,
    labelled_folder,
    load_settings,
    must_be_writable,
    must_exist,
    one_line_errors,
    print_json,
    progress,
    require,
    wide_console,
)

if TYPE_CHECKING:
    from rich.console import Console

    from model.bundle import Bundle
    from model.evaluation.evaluate import EvaluationContent
    from model.stats.estimate import Estimate
    from model.stats.summaries import Summary


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(evaluate)


def evaluate(
    name: BundlePath = "reference",
    films: Annotated[Path, typer.Option(help="What 'xrayq prepare' wrote.")] = Path("runs/films"),
    out: Annotated[Path, typer.Option(help="Folder for the report; its files are replaced.")] = Path("runs/report"),
    study: Annotated[
        list[Path] | None, typer.Option(help="What 'xrayq study' wrote; may be repeated. Default: the shipped ones.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs the network; default: what serves, the setting XRAYQ_ENGINE.")
    ] = None,
    auxiliary: Annotated[
        list[Path] | None,
        typer.Option(help="Auxiliary set: its films of patients that --hold-out kept from every training; repeatable."),
    ] = None,
    unseen: UnseenOption = None,
    copies: Annotated[
        Path | None,
        typer.Option(help="The same films prepared from other copies, by image_id: how many change a flag."),
    ] = None,
    another: Annotated[
        str,
        typer.Option(
            "--beside",
            metavar="BUNDLE",
            help="Another bundle to measure on the same test films, such as the one in service.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled films, scored exactly as served, and write a report.

    Without a name: the shipped bundle.

    OUT gets evaluation.json (the same bytes on every run with one engine),
    predictions.csv and report.html, a page that needs no network. The page
    shows the films themselves: mind the licences of their sources.

    \b
    xrayq prepare films/ --views all && xrayq evaluate
    xrayq evaluate runs/bundle --films runs/films --out runs/report
    xrayq evaluate --engine onnxruntime --out runs/fp32
    xrayq evaluate runs/bundle --auxiliary aux/ --unseen aux/=openist:normal --copies runs/native
    xrayq evaluate runs/bundle --beside reference
    """
    require("evaluation")
    bundle, settings = load_bundle(name), load_settings(**({"engine": engine} if engine else {}))
    must_exist(films, first=PREPARE)
    must_exist(*(study or ()), *(auxiliary or ()), *([copies] if copies else ()))
    places = tuple(labelled_folder(text) for text in unseen or ())
    other = load_bundle(another) if another else None
    from rich.console import Console

    from model.activation_map import ActivationMaps
    from model.data.bundle_films import films_for
    from model.engine.choose import open_engine
    from model.evaluation.evaluate import evaluate as run_evaluation
    from model.evaluation.evaluate import write
    from model.evaluation.other_network import with_other_network
    from model.pages.report import render
    from model.study_table import read_study
    from worker.settings import cores

    must_be_writable(out / "report.html")
    console, threads = Console(stderr=True), cores()
    with one_line_errors():
        if other:
            films_for(other, films)  # refused before a film is scored
        studies = [read_study(path) for path in (study or _shipped_studies(bundle))]
        open_one = partial(
            open_engine,
            name=settings.engine,
            threads=threads,
            plans=settings.plan_folder,
            flag_tolerance=settings.flag_tolerance,
        )
        opened = open_one(bundle)
        with closing(opened), progress(console, "films scored") as advance:
            evaluation = run_evaluation(
                bundle,
                opened,
                films,
                studies=studies,
                auxiliary=auxiliary or (),
                unseen=places,
                copies=copies,
                advance=advance,
            )
        if other:
            with closing(open_one(other)) as theirs, progress(console, "films scored by it") as advance:
                evaluation = with_other_network(evaluation, other, theirs, films, advance)
        with console.status("writing the report"):
            write(evaluation, out, render(evaluation, ActivationMaps(bundle, threads=threads)))
    if as_json:
        print_json(evaluation.content.as_dict())
    else:
        _show(wide_console(), evaluation.content, out)


def _shipped_studies(bundle: "Bundle") -> list[Path]:
    """Those of the paper's findings; a bundle of other findings has none."""
    import model
    from model.findings import FINDINGS

    if bundle.findings != FINDINGS:
        return []
    return sorted((Path(model.__file__).parent / "studies").glob("*.json"))


def _show(console: "Console", content: "EvaluationContent", out: Path) -> None:
    from rich.table import Table

    from model.pages.cells import engine_of

    bundle, parts, rivals = content.bundle, content.parts, content.baselines
    title = f"Bundle {bundle.name} {bundle.digest[:12]}, scored by {engine_of(content)}"
    table = Table(title=title, title_justify="left")
    for column in ("", "films", "accuracy", "balanced", *(f"recall {finding}" for finding in bundle.findings)):
        table.add_column(column, justify="left" if not column else "right")
    rows: list[tuple[str, Summary]] = [
        (f"network, {name.replace('_all', ' all')}", part.summary) for name, part in parts.items()
    ]
    rows += [
        ("SVM, test", rivals.svm.test.summary),
        ("statistics, test", rivals.shortcut.test.summary),
        ("random, test", rivals.random["test"].summary),
    ]
    if other := content.other_network:
        rows += [(f"{other.title}, {name.replace('_all', ' all')}", part.summary) for name, part in other.parts.items()]
    for label, summary in rows:
        cells = map(_words, (summary.accuracy, summary.balanced, *summary.recall.values()))
        table.add_row(label, str(summary.films), *cells)
    console.print(table)
    console.print(
        "balanced: mean recall. Brackets are 95 % intervals, exact; of balanced by bootstrap over patients.",
        style="dim",
    )
    _show_answers(console, content)
    if other:
        gains = (f"{name.replace('_all', ' all')} {_words(found.accuracy)}" for name, found in other.against.items())
        console.print(f"Accuracy minus that of {other.title}, over patients: {'; '.join(gains)}", highlight=False)
    if not content.data.trained_on:
        console.print("The bundle was trained on another prepared set than this one: see the report.", style="yellow")
    console.print(f"wrote {out / 'report.html'}, evaluation.json and predictions.csv. {content.notice}")


def _show_answers(console: "Console", content: "EvaluationContent") -> None:
    """The questions that matter, and the normal films flagged of each set and source."""
    from rich.table import Table

    from model.findings import SPOKEN

    table = Table(title="Films of one source against each other", title_justify="left")
    for column in ("", "films of", "score", "first", "second", "AUROC"):
        table.add_column(column, justify="right" if column in ("first", "second", "AUROC") else "left")
    for answer in content.questions or ():
        films = (str(side.films) for side in (answer.positives, answer.negatives))
        area = _words(answer.auroc) if answer.auroc else f"- ({answer.reason})"
        table.add_row(answer.words, answer.part, answer.score, *films, area)
    if table.row_count:
        console.print(table)
    table, flags = Table(title="Normal films that are flagged", title_justify="left"), content.bundle.operating_points
    for column in ("", "films", "any flag", *(SPOKEN[point.finding] for point in flags)):
        table.add_column(column, justify="right" if column else "left")
    for row in content.normals_flagged or ():
        if row.group in ("all", "source"):
            name = f"{row.part}, {row.of if row.group == 'all' else row.name}"
            table.add_row(name, str(row.films), *map(_words, (row.any_flag, *row.flags.values())))
    if table.row_count:
        console.print(table)


def _words(estimate: "Estimate") -> str:
    if estimate.value is None:
        return "-"
    bounds = estimate.interval95
    return f"{estimate.value:.3f}" + (f" [{bounds[0]:.2f} {bounds[1]:.2f}]" if bounds else "")
