"""xrayq simulate: a site's day under a bundle's flags, foretold from labelled films."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.bundle import load_bundle
from worker.cli.common import (
    JsonOption,
    load_settings,
    must_exist,
    one_line_errors,
    print_json,
    wide_console,
)
from worker.cli.operating_points import estimate_text
from worker.errors import ConfigurationError
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from rich.console import Console

    from model.bundle import Bundle
    from model.stats.estimate import Estimate
    from model.stats.site_day import FlagAt, LabelledScores, SiteDay, SiteDays
    from worker.monitoring.labelled_scores import SiteScores

RANDOM = (
    "The labelled films must be a random sample of the site's: films read because they were flagged foretell nothing."
)
NOT_SAMPLED = (
    "Not a site's day: these labels are not of a random sample ('xrayq labels sample' draws one). If films were read "
    "because they were flagged, sensitivity looks too high and specificity too low."
)


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after")(simulate)


def simulate(
    table: Annotated[
        Path | None,
        typer.Argument(
            help="predictions.csv of 'xrayq evaluate', or a CSV as 'xrayq calibrate --labels' takes it. "
            "Default: the labelled films of the database."
        ),
    ] = None,
    bundle: Annotated[
        str, typer.Option(help="Shipped bundle or folder; default: the shipped one, without TABLE the live one.")
    ] = "",
    films_per_day: Annotated[int, typer.Option(min=1, help="Chest films that are scored on a day.")] = 200,
    prevalence: Annotated[
        str, typer.Option(help="Shares of the day's films that have the flag's finding, with commas between them.")
    ] = "0.01,0.05,0.2",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            help="FLAG=P,P...: flag at or over these probabilities; a finding, or not_normal, which is 1 - p(normal). "
            "May be repeated. Default: the bundle's operating points."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a table with a column split: which films to take.")] = "test",
    device: Annotated[
        str,
        typer.Option(
            help="An X-ray device with a calibration of its own in the bundle: its films and thresholds. Default: "
            "films of none, and the bundle's own thresholds."
        ),
    ] = "",
    all_labels: Annotated[
        bool, typer.Option("--all-labels", help="Of the database: films outside the random sample too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Foretell a site's day: flags, right and wrong, and missed findings.

    For each flag, threshold and prevalence: films flagged a day, share of these
    that have the finding (PPV), share of the others that do not (NPV), films
    with the finding that are missed, share of the normal films flagged, and
    films left unsure. 19 of 20 days lie in the brackets: they hold what is not
    known of the rates on so few labelled films, by patient, and the chance of
    the day. The prevalence is taken as known.

    The labelled films must be a random sample of the site's: of the database
    those of 'xrayq labels sample' count, where one has a label. Thresholds look
    better than they are on the films that they were chosen on.

    \b
    xrayq simulate runs/report/predictions.csv --films-per-day 200
    xrayq simulate site.csv --bundle runs/site --prevalence 0.02 --threshold not_normal=0.4,0.5
    xrayq simulate --json | jq '.days[] | [.flag, .prevalence, .flags]'
    """
    from model.stats.site_day import site_days

    shares = _prevalences(prevalence)
    if table:
        must_exist(table)
        opened = load_bundle(bundle or "reference")
        scores, sampled = _of_table(_known(opened, device), table, split, device), None
        source = f"{table.name}, split {split} where it has splits"
    else:
        opened, site = _of_database(bundle, device, all_labels)
        scores, sampled = site.scores, site.sampled
        source = f"the {'random sample' if sampled else 'labels'} of the database, one film a study"
    if opened.devices:
        source += f", films of device {device}" if device else ", films of no device of the bundle"
    points = _points(opened.for_device(device), threshold)
    try:
        found = site_days(scores, points, prevalences=shares, films_per_day=films_per_day)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    if as_json:
        about = {"bundle": opened.digest, "source": source, "random_sample_needed": RANDOM, "notice": NOTICE}
        print_json(found.as_dict() | about | {"random_sample": sampled})
    else:
        _show(wide_console(), found, opened, source)
    if sampled is False:
        typer.echo(NOT_SAMPLED, err=True)


def _known(bundle: "Bundle", device: str) -> "Bundle":
    """The bundle. Raises ConfigurationError where it has no such device."""
    names = [known.name for known in bundle.devices]
    if device and device not in names:
        raise ConfigurationError(
            f"--device {device}: bundle {bundle.name} has {', '.join(names) or 'no calibration of a single device'}"
        )
    return bundle


def _of_table(bundle: "Bundle", table: Path, split: str, device: str) -> "LabelledScores":
    from model.calibrating.scored_table import read_scores

    with one_line_errors():
        return read_scores(bundle, table, split, device)


def _of_database(name: str, device: str, all_labels: bool) -> "tuple[Bundle, SiteScores]":
    from worker.bundles.changes import live_bundle
    from worker.monitoring.labelled_scores import labelled_scores

    settings = load_settings()
    engine = open_database(settings)
    bundle = _known(load_bundle(name) if name else live_bundle(engine, settings.bundle), device)
    return bundle, labelled_scores(engine, bundle, device, all_labels=all_labels)


def _prevalences(text: str) -> tuple[float, ...]:
    return tuple(_share(share, f"--prevalence {text}") for share in text.split(","))


def _points(bundle: "Bundle", thresholds: list[str] | None) -> "list[FlagAt]":
    """As asked, or the bundle's. Raises ConfigurationError where it is no flag or no probability."""
    from model.findings import NOT_NORMAL
    from model.stats.site_day import FlagAt

    flags = (NOT_NORMAL, *bundle.findings)
    points = []
    for text in thresholds or ():
        flag, _, values = text.partition("=")
        if flag not in flags:
            raise ConfigurationError(f"--threshold {text}: flags are {', '.join(flags)}")
        points += [FlagAt(flag=flag, threshold=_share(value, f"--threshold {text}")) for value in values.split(",")]
    points = points or [FlagAt(flag=point.finding, threshold=point.threshold) for point in bundle.operating_points]
    if not points:
        raise ConfigurationError(f"bundle {bundle.name} has no operating points: give --threshold FLAG=P")
    return points


def _share(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (isfinite(value) and 0 <= value <= 1):
        raise ConfigurationError(f"{where}: {text!r} is not a number between 0 and 1")
    return value


def _show(console: "Console", found: "SiteDays", bundle: "Bundle", source: str) -> None:
    from rich.text import Text

    from worker.cli.console import print_rows

    films = ", ".join(f"{count} {name}" for name, count in found.films.items())
    about = f" {bundle.version}  digest {bundle.digest[:12]}"
    console.print(Text.assemble("bundle ", (bundle.name, "bold"), about))
    console.print(f"labelled films of {found.patients} patients: {films} ({source})")
    console.print(Text.assemble("a day of ", (f"{found.films_per_day:,} films", "bold")))
    columns = ("flag, p at or over", "of films", "flags", "PPV", "NPV", "missed", "normals flagged", "unsure")
    print_rows(console, columns, map(_row, found.days), drops=("NPV", "normals flagged"))
    console.print(
        "Of films: the share that has the flag's finding, the prevalence. Flags, missed and unsure: films a day. PPV: "
        "share of the flagged films that have the finding; NPV: share of the others that do not. 19 of 20 days lie in "
        "the brackets, which hold what is not known of the rates and the chance of the day. Films without the finding "
        f"are taken to be mixed as the labelled ones. {RANDOM} {NOTICE}",
        style="dim",
    )


def _row(day: "SiteDay") -> tuple[str, ...]:
    return (
        f"{day.flag} {day.threshold:.4f}",
        f"{100 * day.prevalence:g} %",
        _films(day.flags),
        estimate_text(day.ppv),
        estimate_text(day.npv),
        _films(day.missed),
        estimate_text(day.normals_flagged),
        "-" if day.unsure is None else _films(day.unsure),
    )


def _films(films: "Estimate") -> str:
    """A number of films and its interval."""
    assert films.value is not None
    assert films.interval95 is not None
    low, high = films.interval95
    return f"{films.value:.1f} [{low:g}, {high:g}]"
