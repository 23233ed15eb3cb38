"""Scores of a film once more, as `xrayq instance replay` and the web page ask for them."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from worker.errors import NotFound, Unhealthy, WorkerError, WrongState
from worker.processes.parts import film_reader, open_spool

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from model.bundle import Bundle
    from worker.bundles.replay import Replayed
    from worker.instances import InstanceView
    from worker.settings import Settings


def replay_film(
    settings: "Settings", database: "Engine", film: "InstanceView", named: Iterable["Bundle"] = ()
) -> "list[Replayed]":
    """Every score of the film, live and shadow, from the spool. Writes nothing.

    Args:
        named: bundles that may be in no row.

    Raises:
        WrongState: it has no score. NotFound: film or bundle is not here. Unhealthy: no ONNX Runtime here, or the film
        gives no radiograph now. WorkerError: an engine cannot run.
    """
    from importlib.util import find_spec

    if find_spec("onnxruntime") is None:
        raise Unhealthy("ONNX Runtime is not installed here: run this where a worker runs")
    from model.engine.choose import open_engine
    from model.errors import ModelError
    from worker.bundles import replay as replays
    from worker.instances import scores_of

    stored = scores_of(database, film.id)
    if not stored:
        raise WrongState(f"instance {film.id} is {film.state}: there is no score to repeat")
    path = replays.spooled(open_spool(settings), film.digest)
    bundles = {bundle.digest: bundle for bundle in named}
    for bundle in _bundles_here(settings, database):
        bundles.setdefault(bundle.digest, bundle)
    if missing := {score.bundle_digest[:12] for score in stored} - {digest[:12] for digest in bundles}:
        raise NotFound(f"bundle {', '.join(sorted(missing))} is not here: name its folder with --bundle")
    try:
        with film_reader(settings) as read:
            return [
                replays.replay(
                    score,
                    bundles[score.bundle_digest],
                    lambda spec: read(path, spec),
                    lambda bundle, engine: open_engine(bundle, engine, plans=settings.plan_folder, flag_tolerance=1.0),
                )
                for score in stored
            ]
    except (ModelError, OSError) as error:
        raise WorkerError(str(error)) from None


def _bundles_here(settings: "Settings", database: "Engine") -> "Iterable[Bundle]":
    """Those that were in service, the settings' and the shipped, as far as they are whole."""
    from model.bundle import MANIFEST, SHIPPED, load
    from model.errors import BundleError
    from worker.bundles.roles import path_of, placed
    from worker.db.session import reading

    with reading(database) as connection:
        paths = [path_of(bundle.path) for bundle in placed(connection)]
    paths += [settings.bundle] if settings.bundle else []
    paths += [manifest.parent for manifest in SHIPPED.glob(f"*/{MANIFEST}")]
    for path in dict.fromkeys(paths):
        with suppress(BundleError):
            yield load(path)
