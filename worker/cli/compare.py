"""xrayq bundle compare: may the shadow take over?"""

from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from model.promotion.rule import PROMOTE, RULE
from worker.cli.common import JsonOption, load_settings, must_be_one_of, print_json, wide_console
from worker.errors import NotFound
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

    from model.promotion.against_truth import RateOfBoth
    from model.promotion.rule import Criterion
    from model.promotion.side_by_side import FlagChanges, ProbabilityShift
    from model.stats.estimate import Interval, Proportion
    from worker.bundles.roles import PlacedBundle
    from worker.monitoring.comparison import BundleComparison

HELP = f"""Compare two bundles on the films in the database that both scored, and say whether to promote.

    The rule. Its intervals hold however often one looks, so look every day:

    \b
    promote            every criterion below is met
    keep               one is broken: its whole interval lies outside the limit
    not enough films   one is open: its interval reaches over the limit
    not enough labels  likewise, and only labels can settle it

    \b
    films scored by both              {RULE.films} or more
    films the shadow could not score  {RULE.missed:.0%} or fewer
    films with other flags            {RULE.other_flags:.0%} or fewer; more where labels
                                      judge every flag
    films with a probability that
    moved by more than {RULE.moved:g}            {RULE.films_moved:.0%} or fewer; more where labels
                                      judge the Brier score
    unsure films                      at most {RULE.unsure:.0%} of the films more
    labels of a random sample         'xrayq labels sample' draws the films
    lost, each flag and label         {RULE.lost:.0%} or less of the films with the label
                                      are rightly flagged, or not, by live alone;
                                      takes {RULE.judged}; gains do not count
    Brier score, 0 to 1               at most {RULE.brier:g} higher
    prediction sets with the label    at most {RULE.coverage:.0%} of the films fewer

    A flag that only one of the two has is not compared.

    A film's label is the one that most readers gave ('xrayq labels import').
    Labels come from the random sample where it has one; a drawn film without a
    label counts against the shadow. --labels all takes every label: you answer
    for it that no film was chosen by what a bundle said of it. The intervals
    take films as independent. A flag that the shadow alone has is not compared;
    one that live alone has is lost. The verdict is advice: a person activates.

    \b
    xrayq bundle compare
    xrayq bundle compare 68a67c357ada 0c2f11d4e5aa --json
    """
LiveDigest = Annotated[str, typer.Argument(help="The first digits of its digest; default: the one live now.")]
ShadowDigest = Annotated[str, typer.Argument(help="Likewise; default: the only shadow.")]
Labels = Annotated[str, typer.Option(help="sample or all; default: sample where it has a label.")]


def register(app: typer.Typer) -> None:
    app.command(help=HELP)(compare)


def compare(live: LiveDigest = "", shadow: ShadowDigest = "", labels: Labels = "", as_json: JsonOption = False) -> None:
    from worker.bundles.roles import default_of
    from worker.monitoring.comparison import LabelSource, compare_bundles

    if labels:
        must_be_one_of(labels, list(LabelSource), "--labels")
    settings = load_settings()
    engine = open_database(settings)
    live_bundle, shadow_bundle = _two(engine, live, shadow, default_of(settings.bundle))
    source = LabelSource(labels) if labels else None
    comparison = compare_bundles(engine, live_bundle.digest, shadow_bundle.digest, source)
    if as_json:
        content = comparison.as_dict() | {"notice": NOTICE}
        for place, bundle in (("live", live_bundle), ("shadow", shadow_bundle)):
            content[place] |= {"name": bundle.name, "version": bundle.version}
        print_json(content)
    else:
        _show(wide_console(), comparison, live_bundle, shadow_bundle)


def _two(
    engine: "Engine", live: str, shadow: str, default: "PlacedBundle | None"
) -> "tuple[PlacedBundle, PlacedBundle]":
    """The bundles that were named, or those in service."""
    from worker.bundles.roles import find, in_service
    from worker.db.session import reading

    with reading(engine) as connection:
        active, shadows = in_service(connection)
    active = active or default
    if not shadow and len(shadows) != 1:
        raise NotFound(f"{len(shadows)} shadows are in service: name both bundles by their digests")

    def named(prefix: str) -> "PlacedBundle":
        found = default if default and default.digest.startswith(prefix) else find(engine, prefix)
        if found is None:
            raise NotFound(f"no bundle in service begins with {prefix}: 'xrayq bundle status' shows digests")
        return found

    live_bundle = named(live) if live else active
    if live_bundle is None:
        raise NotFound("no bundle is live: name both bundles by their digests")
    return live_bundle, named(shadow) if shadow else shadows[0]


def _show(console: "Console", comparison: "BundleComparison", live: "PlacedBundle", shadow: "PlacedBundle") -> None:
    from rich.text import Text

    from worker.cli.console import print_rows

    result = comparison.result
    for place, bundle in (("live", live), ("shadow", shadow)):
        engines = ", ".join(comparison.engines[bundle.digest]) or "no score"
        about = f" {bundle.version}  {bundle.digest[:12]}  {engines}"
        console.print(Text.assemble(f"{place:<7}", (bundle.name, "bold"), about))
    console.print(f"{result.films} films scored by both, other flags on {_share(result.films_with_other_flags)}")
    columns = ("finding", "shift, mean", "5 %", "median", "95 %", "largest", "flag on", "off", "changed")
    rows = [(name, *_shift(change.shift), *_changes(change.flags)) for name, change in result.findings.items()]
    print_rows(console, columns, rows, drops=("5 %", "95 %", "median"))
    console.print(comparison.labels_in_words)
    if result.truth:
        _show_truth(console, comparison)
    criteria = [
        (line.criterion, _number(line.value, line.interval95), f"{line.limit:g}", line.state, _about(line))
        for line in result.criteria
    ]
    headings = ("criterion", "found", "limit", "state", "about")
    print_rows(console, headings, criteria, folds=("criterion", "about"))
    console.print(Text.assemble("verdict: ", (result.verdict, "bold")))
    if result.verdict == PROMOTE:
        console.print(f"  xrayq bundle activate {comparison.shadow[:12]}")
    console.print(
        "Brackets of criteria hold however often one looks; the others are exact 95 % intervals. Films are taken as "
        f"independent. {NOTICE}",
        style="dim",
    )


def _about(line: "Criterion") -> str:
    return line.because or line.missing or ""


def _show_truth(console: "Console", comparison: "BundleComparison") -> None:
    from worker.cli.console import print_rows

    columns = ("flag", "label", "films", "live right", "shadow right", "lost", "live only", "shadow only", "McNemar p")
    rows = []
    for name, flag in comparison.result.truth.items():
        test = flag.mcnemar
        tested = (str(test.live_only), str(test.shadow_only), f"{test.p:.4f}")
        for number, (label, rate) in enumerate(flag.by_label.items()):
            rows.append((name, label, *_rate(rate), *(tested if number == 0 else ("", "", ""))))
    print_rows(console, columns, rows, drops=("McNemar p", "shadow only", "live only"))


def _rate(rate: "RateOfBoth") -> tuple[str, str, str, str]:
    shares = (rate.live, rate.shadow, rate.lost)
    live, shadow, lost = (_number(share.value, share.interval95) for share in shares)
    return str(rate.live.n), live, shadow, lost


def _shift(shift: "ProbabilityShift | None") -> list[str]:
    if shift is None:
        return ["-"] * 5
    quantiles = [shift.quantiles[share] for share in ("0.05", "0.5", "0.95")]
    return [f"{number:+.4f}" for number in (shift.mean, *quantiles, shift.largest)]


def _changes(flags: "FlagChanges | None") -> tuple[str, str, str]:
    return ("-", "-", "-") if flags is None else (str(flags.on), str(flags.off), _share(flags.changed))


def _number(value: float | None, interval: "Interval | None") -> str:
    """A share with its interval, or a plain number."""
    if value is None:
        return "-"
    if interval is None:
        return f"{value:g}"
    low, high = interval
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _share(share: "Proportion") -> str:
    return _number(share.value, share.interval95) + (f" n={share.n}" if share.n else "")
