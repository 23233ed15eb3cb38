"""xrayq labels: what readers say of films, and how the live scores hold up against it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.bundle import load_bundle
from worker.cli.common import (
    JsonOption,
    clock,
    load_settings,
    must_be_writable,
    operator,
    past_day,
    print_json,
    wide_console,
    writing_to,
)
from worker.errors import NotFound
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from datetime import datetime

    from worker.monitoring.label_sample import Draw
    from worker.settings import Settings

MOST_CHARACTERS = 200
"""Of the reason of a reset."""

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
    may arrive after their labels. A row with label, reader and read_on empty is
    a film of a worklist that nobody has read yet. Messages name lines, never
    their content.

    \b
    xrayq labels import readings.csv
    xrayq labels import readings.csv --json
    """
    from worker.bundles.changes import live_bundle
    from worker.monitoring.labels import import_labels

    settings = load_settings()
    engine = open_database(settings)
    imported = import_labels(engine, path, live_bundle(engine, settings.bundle).findings, operator())
    if as_json:
        print_json(imported.as_dict())
        return
    counts = imported.as_dict()
    words = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in counts if name != "rows")
    typer.echo(f"{imported.rows} rows: {words}")


@app.command()
def sample(
    films: Annotated[int, typer.Option(help="How many.", min=1)] = 100,
    since: Annotated[str, typer.Option(help="First day received, YYYY-MM-DD.")] = "",
    until: Annotated[str, typer.Option(help="Last day received, YYYY-MM-DD; part of it.")] = "",
    calling_ae: Annotated[str, typer.Option("--ae", help="Of this sender alone.")] = "",
    name: Annotated[str, typer.Option("--draw", help="Its name. One that was drawn already is shown as it was.")] = "",
    seed: Annotated[int | None, typer.Option(help="For a draw that can be repeated elsewhere.", min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="A CSV file; default: print it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw films at random for readers, whatever they scored, as a worklist in CSV.

    Live rates and alarms come from drawn films alone. Of the films that the
    live bundle scored since the last reset: one a study, and no study twice.
    The list has no score and no flag; readers fill label, reader and read_on,
    as often as they like, and 'xrayq labels import' takes the file back. Read
    all of it: until then a film that was left out counts against an alarm. The
    draw is kept and audited.

    \b
    xrayq labels sample --films 100 --out worklist.csv
    xrayq labels sample --films 100 --draw november --since 2026-11-01
    """
    from worker.bundles.changes import live_bundle
    from worker.monitoring.label_sample import Wanted, draw

    settings = load_settings()
    engine = open_database(settings)
    wanted = Wanted(
        films=films,
        bundle_digest=live_bundle(engine, settings.bundle).digest,
        since=_day(since, settings, "--since"),
        until=_day(until, settings, "--until", end=True),
        calling_ae=calling_ae,
        seed=seed,
    )
    drawn = draw(engine, name.strip(), wanted, actor=operator())
    if as_json:
        print_json(drawn.as_dict())
        return
    _write(drawn, out)
    number = f"{len(drawn.films)} films"
    fewer = "" if drawn.again or len(drawn.films) >= films else f"; {films} were asked for, and no more are left"
    when = f", drawn {clock(drawn.drawn_at, settings.zone)} already" if drawn.again else ""
    typer.echo(f"draw {drawn.name}: {number}{fewer}{when}", err=True)


@app.command()
def reset(
    reason: Annotated[str, typer.Option(help="At most 200 characters. No patient's name or number.")],
    as_json: JsonOption = False,
) -> None:
    """Begin live rates and alarms anew, as after an incident that was mended.

    Films received before count no longer, nor do draws made before: draw
    anew. Who, when and why are in the audit trail, and in the reports.

    \b
    xrayq labels reset --reason 'new detector plate in CR1, bundle kept'
    """
    from worker.errors import ConfigurationError
    from worker.monitoring import label_sample

    reason = reason.strip()
    if not 0 < len(reason) <= MOST_CHARACTERS or not reason.isprintable():
        raise ConfigurationError(f"--reason is one line of 1 to {MOST_CHARACTERS} characters")
    settings = load_settings()
    made = label_sample.reset(open_database(settings), reason, actor=operator())
    if as_json:
        print_json({"at": made.at.isoformat(timespec="seconds"), "actor": made.actor, "reason": made.reason})
    else:
        typer.echo(f"live rates begin anew at {clock(made.at, settings.zone)}; next: xrayq labels sample")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="CSV file to write; an existing one is replaced.", metavar="CSV")],
    ae: Annotated[str, typer.Option(help="Only films of this sender, by its AE title; default: of all.")] = "",
    bundle: Annotated[str, typer.Option(help="Shipped bundle or folder; default: the live one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write the labelled films that a bundle scored live, with its logits: the table that 'xrayq calibrate' takes.

    Columns: label, patient_id (a pseudonym of the study, as the database knows
    no patient), bundle, what tells the X-ray device (calling_ae, manufacturer,
    model_name, station), and the logit of each finding. Films whose readers
    disagree are left out. Label films drawn at random: a calibration on those
    that were flagged is wrong for all others.

    \b
    xrayq labels export site.csv
    xrayq calibrate --labels site.csv --out runs/site
    xrayq calibrate --labels site.csv --device room-2 --match station=DX2
    """
    from collections import Counter

    from worker.bundles.changes import live_bundle
    from worker.monitoring.labelled_table import labelled_films, write_table

    settings = load_settings()
    engine = open_database(settings)
    must_be_writable(out)
    chosen = load_bundle(bundle) if bundle else live_bundle(engine, settings.bundle)
    films = labelled_films(engine, chosen, ae)
    if not films:
        raise NotFound(f"no film{f' of {ae}' if ae else ''} that bundle {chosen.digest[:12]} scored live has a label")
    write_table(out, films, chosen)
    counts = Counter(film.label for film in films)
    by_label = {name: counts[name] for name in chosen.findings}
    if as_json:
        print_json({"path": str(out), "bundle_digest": chosen.digest, "films": by_label})
    else:
        typer.echo(f"wrote {out}: {', '.join(f'{count} {name}' for name, count in by_label.items())}")


@app.command()
def performance(
    bundle: Annotated[str, typer.Option(help="Shipped bundle or folder; default: the live one.")] = "",
    as_json: JsonOption = False,
) -> None:
    """How often the live flags are right, by label, with exact 95 % intervals.

    Rates come from the films that 'xrayq labels sample' drew; labels of other
    films are shown apart, as not representative. An alarm says that a rate left
    the interval it had when the bundle was calibrated; films of a device with a
    calibration of its own are held against that one. It may be looked at
    after every film: over all time, rates that stayed inside raise a false
    alarm with a chance of at most 5 % in all, whichever drawn films readers
    leave out, as long as labels are not corrected.

    \b
    xrayq labels performance
    xrayq labels performance --json | jq '.sample.findings[] | select(.alarm)'
    """
    from worker.bundles.changes import live_bundle
    from worker.monitoring.performance import performance as measure

    settings = load_settings()
    engine = open_database(settings)
    measured = measure(engine, load_bundle(bundle) if bundle else live_bundle(engine, settings.bundle))
    if as_json:
        print_json(measured.as_dict() | {"notice": NOTICE})
        return
    from worker.cli.performance_view import show

    show(wide_console(), measured, settings.zone)


def _day(text: str, settings: "Settings", option: str, *, end: bool = False) -> "datetime | None":
    """Its first moment, or its end."""
    from worker.db.span import Span

    if not text:
        return None
    span = Span.of_day(past_day(text, settings.zone, option), settings.zone)
    return span.end if end else span.start


def _write(drawn: "Draw", out: Path | None) -> None:
    """The worklist as CSV."""
    import csv
    import io

    from worker.monitoring.label_sample import COLUMNS

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(film.row for film in drawn.films)
    if out is None:
        typer.echo(text.getvalue(), nl=False)
        return
    with writing_to(out):
        out.write_text(text.getvalue(), encoding="utf-8")
