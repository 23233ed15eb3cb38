"""xrayq instance replay: does a stored score come out again?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.common import JsonOption, load_settings, print_json, wide_console
from worker.cli.instance import Name
from worker.processes.parts import open_database

if TYPE_CHECKING:
    from worker.bundles.replay import Replayed


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
    from worker.cli.bundle import load_bundle
    from worker.instances import find
    from worker.processes.replaying import replay_film
    from worker.states import NOT_A_FILM

    settings = load_settings()
    engine = open_database(settings)
    views = find(engine, name)
    view = next((view for view in reversed(views) if view.reason != NOT_A_FILM), views[-1])
    again = replay_film(settings, engine, view, [load_bundle(str(folder)) for folder in bundle or []])
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
