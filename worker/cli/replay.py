"""xrayq instance replay: does a stored score come out again?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.common import JsonOption, load_settings, one_line_errors, print_json, wide_console
from worker.cli.instance import Name
from worker.errors import NotFound, Unhealthy, WrongState
from worker.processes.parts import film_reader, open_database, open_spool

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from model.bundle import Bundle
    from worker.bundles.replay import Replayed
    from worker.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    name: Name,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="A folder to look for the score's bundle in; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score an instance again from the spool and compare with every score stored, live and shadow.

    The film must have the digest it was received with, the bundle the one the
    score names. The same engine must give logits within 0.0001 and the same
    flags; where it does not run here, ONNX Runtime does, within what is
    recorded for it. Exit code 1 when a score differs. Nothing is written. A UID
    means its newest film.

    \b
    xrayq instance replay 17
    xrayq instance replay 17 --bundle /archive/bundles/2026-10 --json
    """
    from importlib.util import find_spec

    if find_spec("onnxruntime") is None:
        raise Unhealthy("ONNX Runtime is not installed here: run this where a worker runs")
    from model.engine.choose import open_engine
    from worker.bundles import replay as replays
    from worker.instances import find, scores_of
    from worker.states import NOT_A_FILM

    settings = load_settings()
    engine = open_database(settings)
    views = find(engine, name)
    view = next((view for view in reversed(views) if view.reason != NOT_A_FILM), views[-1])
    stored = scores_of(engine, view.id)
    if not stored:
        raise WrongState(f"instance {view.id} is {view.state}: there is no score to repeat")
    film = replays.spooled(open_spool(settings), view.digest)
    bundles = _bundles(engine, settings, bundle or [])
    if missing := {score.bundle_digest[:12] for score in stored} - {digest[:12] for digest in bundles}:
        raise NotFound(f"bundle {', '.join(sorted(missing))} is not here: name its folder with --bundle")
    with one_line_errors(), film_reader(settings) as read:
        again = [
            replays.replay(
                score,
                bundles[score.bundle_digest],
                lambda spec: read(film, spec),
                lambda bundle, engine: open_engine(bundle, engine, plans=settings.plan_folder, flag_tolerance=1.0),
            )
            for score in stored
        ]
    agrees = all(replayed.agrees for replayed in again)
    if as_json:
        scores = [replayed.as_dict() for replayed in again]
        print_json({"instance": view.id, "agrees": agrees, "scores": scores, "notice": NOTICE})
    else:
        for replayed in again:
            _print(replayed)
        typer.echo(f"instance {view.id} {'agrees' if agrees else 'differs'}. {NOTICE}")
    if not agrees:
        raise typer.Exit(1)


def _bundles(engine: "Engine", settings: "Settings", folders: list[Path]) -> "dict[str, Bundle]":
    """By digest: those named, those that were in service, the settings' and the shipped, as far as they are whole."""
    from contextlib import suppress

    from model.bundle import MANIFEST, SHIPPED, load
    from model.errors import BundleError
    from worker.bundles.roles import path_of, placed
    from worker.cli.bundle import load_bundle
    from worker.db.session import reading

    named = [load_bundle(str(folder)) for folder in folders]
    with reading(engine) as connection:
        paths = [path_of(bundle.path) for bundle in placed(connection)]
    paths += [settings.bundle] if settings.bundle else []
    paths += [manifest.parent for manifest in SHIPPED.glob(f"*/{MANIFEST}")]
    bundles = {bundle.digest: bundle for bundle in named}
    for path in dict.fromkeys(paths):
        with suppress(BundleError):
            bundle = load(path)
            bundles.setdefault(bundle.digest, bundle)
    return bundles


def _print(replayed: "Replayed") -> None:
    from worker.cli.console import print_rows
    from worker.cli.instance_view import set_text

    console, compared = wide_console(), replayed.tolerance.number
    stored = replayed.stored
    console.print(
        f"{stored.role} score, bundle {stored.bundle_digest[:12]}: {'agrees' if replayed.agrees else 'differs'}",
    )
    rows = []
    for name, finding in stored.findings.items():
        before, now = (
            (finding.logit, replayed.logits) if compared == "logit" else (finding.probability, replayed.probabilities)
        )
        flags = ("yes" if finding.flag else "", "yes" if name in replayed.flags else "")
        rows.append((name, f"{before:.6f}", f"{now[name]:.6f}", f"{replayed.differences[name]:.1e}", *flags))
    print_rows(
        console, ("finding", f"{compared} stored", f"{compared} now", "difference", "flag stored", "flag now"), rows
    )
    for when, found in (("stored", stored.prediction_set), ("now", replayed.prediction_set)):
        if found is not None:
            console.print(f"  prediction set {when}: {set_text(found)}")
    console.print(
        f"  {stored.engine} then, {replayed.engine} now; {compared}s may differ by {replayed.tolerance.largest:g} "
        f"({replayed.tolerance.source})",
        style="dim",
    )
