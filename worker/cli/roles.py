"""xrayq bundle activate, shadow, retire, rollback, status: which bundles score, and since when."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.bundle import load_bundle
from worker.cli.common import JsonOption, clock, load_settings, operator, print_json, wide_console
from worker.errors import NotFound
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from worker.bundles.roles import PlacedBundle

Wanted = Annotated[
    str,
    typer.Argument(
        help="A folder, the name of a shipped bundle, or the first digits of a digest that was in service.",
        metavar="BUNDLE",
    ),
]
BundleDigest = Annotated[str, typer.Argument(help="The first digits of its digest, six or more.", metavar="DIGEST")]


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(activate)
    app.command()(shadow)
    app.command()(retire)
    app.command()(rollback)


def status(as_json: JsonOption = False) -> None:
    """Show which bundle is live, which are shadows and which retired, since when and by whom.

    Films: how many it scored, as which. Skipped: films without a score of
    this shadow since then; the workers' logs say why.

    \b
    xrayq bundle status
    xrayq bundle status --json
    """
    from worker.bundles.overview import overview
    from worker.bundles.roles import default_of

    settings = load_settings()
    bundles = overview(open_database(settings), default_of(settings.bundle))
    if as_json:
        print_json([bundle.as_dict() for bundle in bundles])
        return
    from worker.cli.console import print_rows

    table = [
        (
            bundle.role,
            bundle.name,
            bundle.version,
            bundle.digest[:12],
            clock(bundle.since, settings.zone) if bundle.since else "-",
            bundle.by,
            ", ".join(f"{films} {role}" for role, films in bundle.films.items() if films) or "0",
            str(bundle.skipped or ""),
            bundle.path,
        )
        for bundle in bundles
    ]
    headings = ("role", "bundle", "version", "digest", "since", "by", "films", "skipped", "path")
    console = wide_console()
    print_rows(console, headings, table, folds=("path",))
    console.print(f"Times are {settings.time_zone}.", style="dim")


def activate(name: Wanted) -> None:
    """Make a bundle live, from the next message on, without a restart. The one before it retires.

    It is checked first: every digest, and one run. Its folder must be there
    under the same path for every worker: a worker that cannot load it scores
    nothing, and its films wait.

    \b
    xrayq bundle activate runs/bundle
    xrayq bundle activate 68a67c357ada
    """
    from worker.bundles import changes
    from worker.bundles.roles import default_of

    settings = load_settings()
    engine = open_database(settings)
    new = _named(engine, name)
    before = changes.activate(engine, new, default=default_of(settings.bundle), actor=operator())
    _say_live(new, before)


def rollback() -> None:
    """Make the bundle live again that was live before the last activation. Each call takes one activation back.

    \b
    xrayq bundle rollback
    """
    from worker.bundles import changes
    from worker.bundles.roles import default_of

    settings = load_settings()
    engine = open_database(settings)
    earlier, before = changes.roll_back(engine, default=default_of(settings.bundle), actor=operator())
    _say_live(earlier, before)


def shadow(name: Wanted) -> None:
    """Let a bundle score every film silently beside the live one, from the next message on.

    Its scores are kept and shown by 'xrayq instance show' and 'xrayq bundle
    compare', nowhere else. It must have the live bundle's findings and read
    films in the same way. Live scores are committed before it starts; but it
    takes its share of the machine. A worker that cannot load it skips it, and
    says so in its log and in the audit trail.

    \b
    xrayq bundle shadow runs/candidate
    """
    from worker.bundles import changes
    from worker.bundles.roles import default_of

    settings = load_settings()
    engine = open_database(settings)
    new = _named(engine, name)
    live = changes.shadow(engine, new, default=default_of(settings.bundle), actor=operator())
    typer.echo(f"{new.name} {new.version} ({new.digest[:12]}) is a shadow of {live.name} {live.version}")


def retire(digest: BundleDigest) -> None:
    """Take a shadow out of service. Its scores stay.

    \b
    xrayq bundle retire 68a67c357ada
    """
    from worker.bundles import roles

    engine = open_database(load_settings())
    shadow = roles.find(engine, digest)
    if shadow is None:
        raise NotFound(f"no bundle in service begins with {digest}: 'xrayq bundle status' shows digests")
    roles.retire(engine, shadow.digest, operator())
    typer.echo(f"{shadow.name} {shadow.version} ({shadow.digest[:12]}) is retired")


def _named(engine: "Engine", name: str) -> "PlacedBundle":
    """A bundle that was in service, by its digest, or any other. Raises NotFound, Unhealthy."""
    from worker.bundles import roles

    return roles.find(engine, name) or roles.placed_bundle(load_bundle(name))


def _say_live(new: "PlacedBundle", before: str | None) -> None:
    was = f"; before: {before[:12]}" if before else ""
    typer.echo(f"{new.name} {new.version} ({new.digest[:12]}) is live from the next message on{was}")
