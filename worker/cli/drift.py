"""xrayq drift: do films and scores still look as they did when all was well?"""

from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.common import JsonOption, clock, load_settings, operator, past_day, print_json, wide_console
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from worker.monitoring.drift_result import DriftResult

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Films and scores of each AE beside a frozen reference."
)


@app.command()
def show(
    day: Annotated[str, typer.Option("--date", help="YYYY-MM-DD, today or yesterday.")] = "yesterday",
    as_json: JsonOption = False,
) -> None:
    """Hold the films of one day beside the frozen references, as the night does.

    Drift is sure (q, the false discovery rate over all tests of the day) and
    large: PSI, the population stability index, beyond what chance gives for so
    few films; or too many films outside the range that 99 % of the reference
    lies in, which finds a few wrong films among many right ones. It says that
    films or scores changed, not why: a new exposure table, other patients, a
    detector at its end. Too few films of a day: those of seven days are tested.

    \b
    xrayq drift show
    xrayq drift show --date 2026-11-22
    xrayq drift show --json | jq '.tests[] | select(.alarm)'
    """
    from model.json_value import plain
    from worker.db.session import snapshot
    from worker.db.span import Span
    from worker.monitoring.drift import evaluate
    from worker.processes.night_options import drift_options

    settings = load_settings()
    chosen = past_day(day, settings.zone, "--date")
    with snapshot(open_database(settings)) as connection:
        result = evaluate(connection, Span.of_day(chosen, settings.zone), drift_options(settings))
    if as_json:
        print_json(plain(result) | {"date": chosen.isoformat(), "notice": NOTICE})
    else:
        _show(result, f"Films of {chosen} ({settings.time_zone})")


@app.command()
def freeze(
    calling_ae: Annotated[str, typer.Option("--ae", help="The sending AE title.")],
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD; part of it.")],
) -> None:
    """Replace an AE's references by its films of these days. Choose days on which the device was in order.

    The night makes the first references by itself, from the first films of an
    AE, which nobody has looked at. At least 100 films, one of each study; a
    measure with fewer keeps the reference it has. The audit trail keeps the
    digests of the old sample and of the new one.

    \b
    xrayq drift freeze --ae CR1 --from 2026-11-01 --to 2026-11-14
    """
    from worker.db.span import Span
    from worker.errors import ConfigurationError
    from worker.monitoring.drift_reference import freeze as replace

    settings = load_settings()
    spans = [
        Span.of_day(past_day(text, settings.zone, name), settings.zone)
        for text, name in ((first, "--from"), (last, "--to"))
    ]
    if spans[1].start < spans[0].start:
        raise ConfigurationError("--to is a day before --from")
    span = Span(start=spans[0].start, end=spans[1].end)
    for reference in replace(open_database(settings), calling_ae, span, actor=operator()):
        key = reference.key
        bundle = f" by bundle {key.bundle_digest[:12]}" if key.bundle_digest else ""
        typer.echo(f"{calling_ae} {key.measure}{bundle}: {reference.films} films")


@app.command()
def references(as_json: JsonOption = False) -> None:
    """List the frozen references, and whether each is still the one that the audit trail tells of.

    \b
    xrayq drift references
    xrayq drift references --json | jq '.[] | select(.as_audited | not)'
    """
    from worker.db.session import snapshot
    from worker.monitoring.drift_reference import audited_digests, sample_digest, sample_of
    from worker.monitoring.drift_reference import references as frozen

    settings = load_settings()
    with snapshot(open_database(settings)) as connection:
        audited, found = audited_digests(connection), frozen(connection)
        digests = {key: sample_digest(sample_of(connection, key)) for key in sorted(found)}
    rows = [
        found[key].as_dict() | {"digest": digest, "as_audited": audited.get(key) == digest}
        for key, digest in digests.items()
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo(
            f"no reference yet: the night freezes the first {settings.drift_reference_films} films of an AE "
            "(XRAYQ_DRIFT_REFERENCE_FILMS); 'xrayq drift freeze' takes days of your choice"
        )
        return
    from rich.text import Text

    from worker.cli.console import print_rows

    table = [
        (
            row["calling_ae"],
            row["measure"],
            row["bundle"][:12] or "-",
            str(row["films"]),
            *(clock(row[name], settings.zone)[:10] for name in ("from", "to", "frozen_at")),
            row["digest"][:12],
            "as audited" if row["as_audited"] else Text("NOT AS AUDITED", "red"),
        )
        for row in rows
    ]
    headings = ("AE", "measure", "bundle", "films", "from", "to", "frozen", "digest", "trail")
    console = wide_console()
    print_rows(console, headings, table, drops=("digest", "frozen", "bundle"))
    console.print(f"Days are {settings.time_zone}.", style="dim")


def _show(result: "DriftResult", title: str) -> None:
    from rich.text import Text

    from worker.cli.console import print_rows
    from worker.monitoring.drift_result import LEAST_OUTSIDE, untested_words

    table = [
        (
            test.calling_ae,
            test.measure,
            f"{test.films}" + (f" in {test.days} days" if test.days > 1 else ""),
            f"{test.psi:.3f}",
            f"{test.psi_by_chance:.3f}",
            f"{test.q:.2g}",
            f"{test.outside:.1%}",
            f"{test.outside_q:.2g}",
            f"{test.median:.4g}",
            f"{test.reference_median:.4g}",
            Text(test.note.upper(), "red") if test.alarm else test.note,
        )
        for test in result.tests
    ]
    headings = ("AE", "measure", "films", "PSI", "by chance", "q", "outside", "its q", "median", "reference", "drift")
    console = wide_console()
    console.print(title)
    print_rows(console, headings, table, folds=("drift",), drops=("reference", "median", "by chance", "its q"))
    if not table:
        console.print("Nothing tested: a test needs films of the day and a reference, see 'xrayq drift references'.")
    for words in untested_words(result):
        console.print(f"Not tested: {words}", style="yellow")
    limits = result.options
    console.print(
        f"Drift: q of {limits.alpha:g} or less, and a PSI beyond chance of {limits.psi:g} or more. Outliers: "
        f"as sure, and {LEAST_OUTSIDE:.0%} or more of the films, beyond chance, outside the middle 99 % of the "
        f"reference. {NOTICE}",
        style="dim",
    )
