"""xrayq calibrate: the same network with probabilities, flags and prediction sets fitted to labelled films."""

import os
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
from worker.cli.device_match import MatchOption, device_asked
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from model.bundle import Bundle
    from model.calibrating.calibration_content import Calibrated
    from model.calibrating.cross_fit import Wish

SUM_TOLERANCE = 1e-6
SensitivityOption = Annotated[
    list[str] | None,
    typer.Option(help="FINDING=RATE: flag at least this share of its films. Instead of a specificity."),
]
SpecificityOption = Annotated[
    list[str] | None,
    typer.Option(
        help="FINDING=RATE: leave at least this share of all films without it unflagged. "
        "Default: not_normal=0.9, 0.95 for each finding but normal."
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
        str | None,
        typer.Option(help="With --films: what scores them, as XRAYQ_ENGINE. Default: onnxruntime, the reference."),
    ] = None,
    prevalence: Annotated[
        str,
        typer.Option(
            help="How common each finding is where it will serve: normal=0.9,pneumonia=0.08,covid19=0.02. "
            "Default: as in the films."
        ),
    ] = "",
    new_name: Annotated[str, typer.Option("--name", help="Of the new bundle; default: as it was.")] = "",
    version: Annotated[
        str,
        typer.Option(help="Of the new bundle; default: as it was with +cal. and eight digits of what it was made of."),
    ] = "",
    device: Annotated[
        str, typer.Option(help="With --labels: calibrate only this X-ray device, a name of yours; all else stays.")
    ] = "",
    match: MatchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a bundle's probabilities, flags and prediction sets to labelled films, into a new bundle.

    Without a name: the shipped bundle.

    The network stays as it is, to the byte. Logits as they are, a temperature
    or vector scaling: taken is what has the least log loss on films held out by
    patient. Each probability gets an exact interval: how many of the films like
    it have the finding. Each operating point keeps its target with 95 %
    confidence, or says that it does not and how many patients it would take.
    int8 is measured again, and made anew where it would change too many flags.

    With a prevalence the probabilities are for films mixed so. It changes no
    flag and no prediction set.

    With a device, the new bundle has one calibration more: it is fitted on the
    rows of that device, and later taken for its films alone. Of several
    devices that a film matches, the one that asks for most attributes counts.

    REPORT gets calibration.json (the same bytes on every run) and
    calibration.html, a page that needs no network.

    \b
    xrayq calibrate --films runs/all --out runs/calibrated
    xrayq calibrate runs/bundle --films runs/all --sensitivity covid19=0.95 --specificity pneumonia=0.8
    xrayq calibrate --labels site.csv --out runs/site --prevalence normal=0.9,pneumonia=0.08,covid19=0.02
    xrayq calibrate runs/site --labels site.csv --device room-2 --match station=DX2 --out runs/site-2
    """
    require("calibration")
    if (films is None) == (labels is None):
        raise ConfigurationError("calibrate needs --films FOLDER or --labels CSV, one of the two")
    if match and not device:
        raise ConfigurationError("--match says which films are of a device: give it a name with --device")
    if device and labels is None:
        raise ConfigurationError("--device needs --labels CSV: prepared films do not say which device made them")
    if engine and films is None:
        raise ConfigurationError("--engine says what scores the films of --films: a table of --labels has its logits")
    bundle = load_bundle(name)
    wish = wish_of(bundle, sensitivity, specificity, coverage, prevalence)
    source = films or labels
    assert source is not None
    must_exist(source)
    from rich.console import Console

    from model.calibrating.calibrate import calibrate_on_table
    from model.pages.calibration_report import write
    from worker.cli.calibrate_view import show

    console, place = Console(stderr=True), report or out.with_name(f"{out.name}-report")
    must_be_writable(out)
    must_be_writable(place / "calibration.html")
    with one_line_errors():
        called = {"name": new_name, "version": version}
        if films is not None:
            calibrated = _on_films(console, bundle, films, out, wish, engine, called)
        else:
            asked = device_asked(bundle, device, match or []) if device else None
            calibrated = calibrate_on_table(bundle, source, out, wish, device=asked, **called, report=_line(console))
        write(calibrated, place)
    if as_json:
        print_json(calibrated.content.as_dict() | {"path": str(out), "report": str(place)})
    else:
        show(wide_console(), calibrated.content, out, place)


def wish_of(
    bundle: "Bundle",
    sensitivity: list[str] | None,
    specificity: list[str] | None,
    coverage: float,
    prevalence: str = "",
) -> "Wish":
    """Raises ConfigurationError on a rate or share that is none, a finding that is none or named twice."""
    from model.calibrating.cross_fit import Wish
    from model.decision import SENSITIVITY, SPECIFICITY
    from model.findings import NOT_NORMAL
    from model.stats.thresholds import OperatingTarget, default_targets

    if not 0 < coverage < 1:
        raise ConfigurationError(f"--coverage {coverage:g} must lie between 0 and 1")
    names, targets = (NOT_NORMAL, *bundle.findings), dict[str, OperatingTarget]()
    for rate, given in ((SENSITIVITY, sensitivity), (SPECIFICITY, specificity)):
        for text in given or ():
            finding, value = _share_of(text)
            if not 0 < value < 1:
                raise ConfigurationError(f"--{rate} {text}: write it as covid19=0.95, a rate between 0 and 1")
            if finding not in names:
                raise ConfigurationError(f"--{rate} {text}: findings are {', '.join(names)}")
            if finding in targets:
                raise ConfigurationError(f"--{rate} {text}: {finding} has an operating point already, it takes one")
            targets[finding] = OperatingTarget(finding=finding, rate=rate, value=value)
    chosen = {target.finding: target for target in default_targets(bundle.findings)} | targets
    return Wish(
        targets=tuple(chosen[name] for name in names if name in chosen),
        coverage=coverage,
        prevalence=prevalence_of(bundle, prevalence),
    )


def prevalence_of(bundle: "Bundle", text: str) -> dict[str, float] | None:
    """normal=0.9,pneumonia=0.08,covid19=0.02; None where it is empty. Raises ConfigurationError."""
    if not text:
        return None
    shares = {}
    for part in text.split(","):
        finding, share = _share_of(part.strip())
        if finding not in bundle.findings or finding in shares or not 0 < share < 1:
            raise ConfigurationError(
                f"--prevalence {text}: give each of {', '.join(bundle.findings)} once, a share between 0 and 1"
            )
        shares[finding] = share
    if set(shares) != set(bundle.findings) or abs(sum(shares.values()) - 1) > SUM_TOLERANCE:
        raise ConfigurationError(
            f"--prevalence {text}: give each of {', '.join(bundle.findings)}, so that they sum to 1"
        )
    return {name: shares[name] for name in bundle.findings}


def _share_of(text: str) -> tuple[str, float]:
    """covid19=0.95 as ("covid19", 0.95); 0 for what is no number."""
    finding, _, number = text.partition("=")
    try:
        return finding, float(number)
    except ValueError:
        return finding, 0.0


def _on_films(
    console: "Console",
    bundle: "Bundle",
    films: Path,
    out: Path,
    wish: "Wish",
    engine: str | None,
    called: dict[str, str],
) -> "Calibrated":
    from model.calibrating.calibrate import calibrate_on_films
    from model.engine.choose import REFERENCE, open_engine

    settings, threads = load_settings(), len(os.sched_getaffinity(0))
    opened = open_engine(
        bundle, engine or REFERENCE, threads=threads, plans=settings.plan_folder, flag_tolerance=settings.flag_tolerance
    )
    try:
        with progress(console, "films scored") as advance:
            return calibrate_on_films(
                bundle,
                opened,
                films,
                out,
                wish,
                **called,
                threads=threads,
                remake=lambda changed, scratch: _remade(changed, films, scratch, threads, _line(console)),
                report=_line(console),
                advance=advance,
            )
    finally:
        opened.close()


def _remade(
    bundle: "Bundle", films: Path, scratch: Path, threads: int, report: "Callable[[str], None]"
) -> dict[str, Any]:
    """int8 anew, within the limits that the old one kept. Raises ModelError."""
    from model.errors import ParityError

    try:
        from model.int8.compile import INT8, int8_variant
    except ImportError:
        raise ParityError("onnx is not installed here, so none can be made anew") from None
    limits = bundle.variants[INT8].get("limits")
    if not limits:
        raise ParityError("without limits on record none can be made anew")
    return int8_variant(bundle, films, scratch, **limits, threads=threads, report=report).as_dict()


def _line(console: "Console") -> "Callable[[str], None]":
    return lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)
