"""xrayq bundle compare: may the shadow take over?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from model.promotion.rule import PROMOTE, RULE
from worker.cli.common import JsonOption, load_settings, print_json, wide_console
from worker.cli.roles import default_of
from worker.errors import NotFound
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

    from worker.bundles.roles import Placed

HELP = f"""Compare two bundles on the films in the database that both scored, and say whether to promote.

    The rule, by exact 95 % intervals:

    \b
    promote           every criterion below is met
    keep              one is broken: its whole interval lies outside the limit
    not enough films  one is open: its interval reaches over the limit

    \b
    films scored by both              {RULE.films} or more
    films the shadow could not score  {RULE.missed:.0%} or fewer
    films with other flags            {RULE.other_flags:.0%} or fewer; more where truth
                                      is met for every flag
    sensitivity lost                  {RULE.lost:.0%} or less of the films with the finding
                                      are flagged by live alone; judged from {RULE.judged};
                                      gains do not count
    specificity lost                  likewise of the films without it

    Without truth the last two are not judged, and nothing stops a promotion.

    Truth is what 'xrayq labels import' brought: the label most readers gave.
    The intervals take films as independent. The verdict is advice: a person
    activates.

    \b
    xrayq bundle compare
    xrayq bundle compare 68a67c357ada 0c2f11d4e5aa --json
    """
Digest = Annotated[str, typer.Argument(help="The first digits of its digest; default: the one live now.")]
ShadowDigest = Annotated[str, typer.Argument(help="Likewise; default: the only shadow.")]


def register(app: typer.Typer) -> None:
    app.command(help=HELP)(compare)


def compare(live: Digest = "", shadow: ShadowDigest = "", as_json: JsonOption = False) -> None:
    from worker.monitoring.comparison import compare_bundles

    settings = load_settings()
    engine = open_database(settings)
    one, other = _two(engine, live, shadow, default_of(settings.bundle))
    content = compare_bundles(engine, one.digest, other.digest)
    for place, bundle in (("live", one), ("shadow", other)):
        content[place] |= {"name": bundle.name, "version": bundle.version}
    if as_json:
        print_json(content | {"notice": NOTICE})
    else:
        _show(wide_console(), content)


def _two(engine: "Engine", live: str, shadow: str, default: "Placed | None") -> "tuple[Placed, Placed]":
    """The bundles that were named, or those in service."""
    from worker.bundles.roles import find, in_service
    from worker.db.session import reading

    with reading(engine) as connection:
        active, shadows = in_service(connection)
    active = active or default
    if not shadow and len(shadows) != 1:
        raise NotFound(f"{len(shadows)} shadows are in service: name both bundles by their digests")

    def named(prefix: str) -> "Placed":
        found = default if default and default.digest.startswith(prefix) else find(engine, prefix)
        if found is None:
            raise NotFound(f"no bundle in service begins with {prefix}: 'xrayq bundle status' shows digests")
        return found

    one = named(live) if live else active
    if one is None:
        raise NotFound("no bundle is live: name both bundles by their digests")
    return one, named(shadow) if shadow else shadows[0]


def _show(console: "Console", content: dict[str, Any]) -> None:
    from rich.text import Text

    from worker.cli.console import print_rows

    for place in ("live", "shadow"):
        one = content[place]
        engines = ", ".join(one["engines"]) or "no score"
        about = f" {one['version']}  {one['digest'][:12]}  {engines}"
        console.print(Text.assemble(f"{place:<7}", (one["name"], "bold"), about))
    other = content["films_with_other_flags"]
    console.print(f"{content['films']} films scored by both, other flags on {_share(other)}")
    columns = ("finding", "shift, mean", "5 %", "median", "95 %", "largest", "flag on", "off", "changed")
    rows = [(name, *_shift(found["shift"]), *_changes(found["flags"])) for name, found in content["findings"].items()]
    print_rows(console, columns, rows, drops=("5 %", "95 %", "median"))
    if content["truth"]:
        _show_truth(console, content)
    criteria = [(one["criterion"], _value(one), f"{one['limit']:g}", one["state"]) for one in content["criteria"]]
    print_rows(console, ("criterion", "found", "limit", "state"), criteria, folds=("criterion",))
    console.print(Text.assemble("verdict: ", (content["verdict"], "bold")))
    if content["verdict"] == PROMOTE:
        console.print(f"  xrayq bundle activate {content['shadow']['digest'][:12]}")
    console.print(f"Brackets are exact 95 % intervals, films taken as independent. {NOTICE}", style="dim")


def _show_truth(console: "Console", content: dict[str, Any]) -> None:
    from worker.cli.console import print_rows

    console.print(
        f"truth is known of {content['truth_films']} of them; of {content['disputed_films']} more readers do not agree",
    )
    columns = ("flag", "rate", "films", "live", "shadow", "lost", "live only right", "shadow only", "McNemar p")
    rows = []
    for name, found in content["truth"].items():
        test = found["mcnemar"]
        tested = (str(test["live_only"]), str(test["shadow_only"]), f"{test['p']:.4f}")
        for rate in ("sensitivity", "specificity"):
            shares = [_value(found[rate][which]) for which in ("live", "shadow", "lost")]
            films = str(found[rate]["live"]["n"])
            rows.append((name, rate, films, *shares, *(tested if rate == "sensitivity" else ("", "", ""))))
    print_rows(console, columns, rows, drops=("McNemar p", "shadow only", "live only right"))


def _shift(shift: dict[str, Any] | None) -> list[str]:
    if shift is None:
        return ["-"] * 5
    quantiles = [shift["quantiles"][share] for share in ("0.05", "0.5", "0.95")]
    return [f"{number:+.4f}" for number in (shift["mean"], *quantiles, shift["largest"])]


def _changes(flags: dict[str, Any] | None) -> tuple[str, str, str]:
    return ("-", "-", "-") if flags is None else (str(flags["on"]), str(flags["off"]), _share(flags["changed"]))


def _value(found: dict[str, Any]) -> str:
    """A share with its interval, or a plain number."""
    value = found["value"]
    if value is None:
        return "-"
    if "interval95" not in found:
        return f"{value:g}"
    low, high = found["interval95"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _share(found: dict[str, Any]) -> str:
    return _value(found) + (f" n={found['n']}" if found["n"] else "")
