"""xrayq calibrate: the same network with probabilities, flags and prediction sets fitted to labelled films."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.common import (
    JsonOption,
    load_settings,
    must_be_writable,
    must_exist,
    one_line_errors,
    print_json,
    progress,
    require,
    wide_console,
)
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from model.bundle import Bundle
    from model.calibrating.calibrate import Calibrated, CalibrationContent
    from model.calibrating.cross_fit import Wish
    from model.calibrating.measured_part import FilmsNeeded
    from model.stats.estimate import Estimate

RATES = ("sensitivity", "specificity")
SensitivityOption = Annotated[
    list[str] | None,
    typer.Option(help="FINDING=RATE: flag at least this share of its films. Default: 0.95 for each but normal."),
]
SpecificityOption = Annotated[
    list[str] | None,
    typer.Option(
        help="FINDING=RATE: leave at least this share of all other films unflagged. Instead of a sensitivity."
    ),
]
CoverageOption = Annotated[float, typer.Option(help="Share of films whose prediction set is to hold their finding.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(calibrate)


def calibrate(
    name: BundlePath = "reference",
    films: Annotated[
        Path | None, typer.Option(help="What 'xrayq prepare' wrote: its split val is calibrated on, test measured on.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Or a CSV of your own films: label, logit_normal, logit_pneumonia, logit_covid19, patient_id."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The new bundle; must not exist.")] = Path("runs/calibrated"),
    report: Annotated[
        Path | None, typer.Option(help="Folder for the report; its files are replaced. Default: OUT-report.")
    ] = None,
    sensitivity: SensitivityOption = None,
    specificity: SpecificityOption = None,
    coverage: CoverageOption = 0.9,
    engine: Annotated[
        str, typer.Option(help="What scores the films, as XRAYQ_ENGINE; the default is the reference.")
    ] = ("onnxruntime"),
    version: Annotated[str, typer.Option(help="Version to write into the bundle; default: as it was.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Fit a bundle's probabilities, flags and prediction sets to labelled films, into a new bundle.

    Without a name: the shipped bundle.

    The network stays as it is, to the byte. Temperature or vector scaling is
    taken, whichever says more of films held out by patient. Each probability
    gets the exact interval of what became of films like it, each flag the
    interval of its sensitivity and specificity. A faster variant is measured
    again and left out where it would change too many flags.

    REPORT gets calibration.json (the same bytes on every run) and
    calibration.html, a page that needs no network.

    \b
    xrayq calibrate --films runs/all --out runs/calibrated
    xrayq calibrate runs/bundle --films runs/all --sensitivity covid19=0.95 --specificity pneumonia=0.8
    xrayq calibrate --labels site.csv --out runs/site
    """
    require("calibration")
    if (films is None) == (labels is None):
        raise ConfigurationError("calibrate needs --films FOLDER or --labels CSV, one of the two")
    bundle = load_bundle(name)
    bundle = replace(bundle, version=version or bundle.version)
    wish = wish_of(bundle, sensitivity, specificity, coverage)
    source = films or labels
    assert source is not None
    must_exist(source)
    from rich.console import Console

    from model.calibrating.calibrate import calibrate_on_table
    from model.pages.calibration_report import write

    must_be_writable(out)
    console, place = Console(stderr=True), report or out.with_name(f"{out.name}-report")
    with one_line_errors():
        if films is not None:
            calibrated = _on_films(console, bundle, films, out, wish, engine)
        else:
            calibrated = calibrate_on_table(bundle, source, out, wish, report=_line(console))
        write(calibrated, place)
    if as_json:
        print_json(calibrated.content.as_dict() | {"path": str(out), "report": str(place)})
    else:
        show(wide_console(), calibrated.content, out, place)


def wish_of(bundle: "Bundle", sensitivity: list[str] | None, specificity: list[str] | None, coverage: float) -> "Wish":
    """Raises ConfigurationError on a rate that is none, a finding that is none or named twice."""
    from model.calibrating.cross_fit import Wish, default_targets
    from model.calibrating.labelled_films import OperatingTarget
    from model.decision import SENSITIVITY, SPECIFICITY

    if not 0 < coverage < 1:
        raise ConfigurationError(f"--coverage {coverage:g} must lie between 0 and 1")
    targets: dict[str, OperatingTarget] = {}
    for rate, given in ((SENSITIVITY, sensitivity), (SPECIFICITY, specificity)):
        for text in given or ():
            finding, _, number = text.partition("=")
            try:
                value = float(number)
            except ValueError:
                value = 0.0
            if not 0 < value < 1:
                raise ConfigurationError(f"--{rate} {text}: write it as covid19=0.95, a rate between 0 and 1")
            if finding not in bundle.findings:
                raise ConfigurationError(f"--{rate} {text}: findings are {', '.join(bundle.findings)}")
            if finding in targets:
                raise ConfigurationError(f"--{rate} {text}: {finding} has an operating point already, it takes one")
            targets[finding] = OperatingTarget(finding=finding, rate=rate, value=value)
    chosen = {target.finding: target for target in default_targets(bundle.findings)} | targets
    return Wish(targets=tuple(chosen[name] for name in bundle.findings if name in chosen), coverage=coverage)


def _on_films(console: "Console", bundle: "Bundle", films: Path, out: Path, wish: "Wish", engine: str) -> "Calibrated":
    from model.calibrating.calibrate import calibrate_on_films
    from model.engine.choose import open_engine

    settings, threads = load_settings(), len(os.sched_getaffinity(0))
    opened = open_engine(
        bundle, engine, threads=threads, plans=settings.plan_folder, flag_tolerance=settings.flag_tolerance
    )
    try:
        with progress(console, "films scored") as advance:
            return calibrate_on_films(
                bundle, opened, films, out, wish, threads=threads, report=_line(console), advance=advance
            )
    finally:
        opened.close()


def _line(console: "Console") -> Any:
    return lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)


def show(console: "Console", content: "CalibrationContent", out: Path, place: Path) -> None:
    """calibration.json for people."""
    from worker.cli.console import print_rows

    parts = content.parts
    errors = [
        (
            f"{name}, {part.how}",
            when,
            *map(_words, (reliability.scores[0], reliability.by_finding, *reliability.scores[1:])),
        )
        for name, part in parts.items()
        for when, reliability in part.reliability.items()
    ]
    print_rows(console, ("films", "probabilities", "ECE", "error by finding", "Brier", "log loss"), errors)
    thresholds = {point.id: point.threshold for point in content.operating_points}
    flags = [
        (
            identifier,
            f"{thresholds[identifier]:.4f}",
            name,
            *(f"{_words(rate)} n={rate.n}" for rate in (flag.sensitivity, flag.specificity)),
            _needed(flag.films_needed),
        )
        for name, part in parts.items()
        for identifier, flag in part.flags.items()
    ]
    print_rows(console, ("operating point", "p at or over", "films", *RATES, "needed"), flags, folds=("needed",))
    sets = []
    for name, part in parts.items():
        shares = [part.sets.coverage, *part.sets.by_finding.values(), part.sets.abstentions]
        sets.append((name, *map(_words, shares)))
    print_rows(console, ("prediction sets", "coverage", *content.bundle.findings, "abstentions"), sets)
    console.print(
        "Brackets are 95 % intervals. Needed: films for an interval of at most +- .05. ECE: of the called class; the "
        "report says how much of it is chance.",
        style="dim",
    )
    made = f"{out}, digest {content.made[:12]}, {content.calibration.method} scaling"
    console.print(
        f"wrote {made}; report in {place}. {content.notice}",
        highlight=False,
        soft_wrap=True,
    )


def _needed(films: "FilmsNeeded") -> str:
    short = ((films.sensitivity, "positives"), (films.specificity, "negatives"))
    return ", ".join(f"{count} {which}" for count, which in short if count) or "enough"


def _words(estimate: "Estimate") -> str:
    if estimate.value is None:
        return "-"
    bounds = estimate.interval95
    return f"{estimate.value:.3f}" + (f" [{bounds[0]:.2f}, {bounds[1]:.2f}]" if bounds else "")
