"""xrayq labels: what readers say of films, and how the live scores hold up against it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.bundle import load_bundle
from worker.cli.common import JsonOption, load_settings, operator, print_json, wide_console
from worker.cli.roles import live_bundle
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from model.stats.sequential import RateWatch
    from worker.monitoring.performance import Performance

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Labels from readers, and live performance.")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="CSV in UTF-8 with a header line.", metavar="CSV")],
    as_json: JsonOption = False,
) -> None:
    """Import labels, all or nothing. The same file again changes nothing.

    Columns: label (a finding of the live bundle), reader, read_on (YYYY-MM-DD),
    and one of sop_instance_uid and accession_number, which names every film of
    the order. A later reading by the same reader corrects the one before. Films
    may arrive after their labels. Messages name lines, never their content.

    \b
    xrayq labels import readings.csv
    xrayq labels import readings.csv --json
    """
    from worker.monitoring.labels import import_labels

    settings = load_settings()
    engine = open_database(settings)
    imported = import_labels(engine, path, live_bundle(engine, settings).findings, operator())
    if as_json:
        print_json(imported.as_dict())
        return
    counts = imported.as_dict()
    words = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in counts if name != "rows")
    typer.echo(f"{imported.rows} rows: {words}")


@app.command()
def performance(
    bundle: Annotated[str, typer.Option(help="Shipped bundle or folder; default: the live one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Sensitivity, specificity and PPV of the live flags, with exact 95 % intervals.

    An alarm says that a rate left the interval it had when the bundle was
    calibrated. It may be looked at after every film: over all time, rates that
    stayed inside raise a false alarm with a chance of at most 5 % in all, as
    long as labels are added and not corrected.

    \b
    xrayq labels performance
    xrayq labels performance --json | jq '.findings[] | select(.alarm)'
    """
    from worker.monitoring.performance import performance as measure

    settings = load_settings()
    engine = open_database(settings)
    measured = measure(engine, load_bundle(bundle) if bundle else live_bundle(engine, settings))
    if as_json:
        print_json(measured.as_dict() | {"notice": NOTICE})
    else:
        _show(measured)


def _show(measured: "Performance") -> None:
    from rich.text import Text

    from worker.cli.console import print_rows

    console = wide_console()
    table = []
    for rates in measured.findings:
        for name in ("sensitivity", "specificity", "ppv"):
            rate = getattr(rates, name)
            alarm = Text(f"ALARM since labelled film {rate.alarm_at} of its kind", "red") if rate.alarm_at else ""
            calibrated = "" if rate.calibrated is None else f"{rate.calibrated[0]:.3f} to {rate.calibrated[1]:.3f}"
            evidence = "" if rate.evidence is None else f"{rate.evidence:.3g}"
            table.append((rates.finding, name, _words(rate), calibrated, evidence, alarm))
    print_rows(console, ("finding", "rate", "now", "calibrated", "evidence", "alarm"), table, folds=("alarm",))
    console.print(
        f"{measured.labelled} of {measured.scored} films scored live by bundle {measured.bundle_digest[:12]} "
        f"have a label ({measured.labelled_flagged} of the {measured.flagged} flagged); "
        f"readers disagree on {measured.disputed}.",
    )
    if measured.selected:
        console.print(
            "Flagged films were labelled more often than the others, so the sensitivity above is too high: "
            "label a random sample too.",
            style="yellow",
        )
    limits = {rates.sensitivity.alarm_from for rates in measured.findings}
    console.print(
        f"Evidence of {max(limits, default=0):.0f} or more raises the alarm. Calibrated: on the films that the "
        f"flags were chosen on, by the engine of then (fp32 as a rule; int8 changes a few flags). {NOTICE}",
        style="dim",
    )


def _words(rate: "RateWatch") -> str:
    if rate.value is None:
        return "-"
    low, high = rate.interval95
    return f"{rate.value:.3f} [{low:.2f}, {high:.2f}] n={rate.trials}"
