"""A change of what scores, checked first: the bundle is whole, and runs. Behind the command line and the web page."""

from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from model.bundle import Bundle
from model.errors import BundleError, ModelError
from worker.bundles import roles
from worker.bundles.roles import PlacedBundle, by_settings, in_service
from worker.db.session import reading
from worker.errors import Unhealthy, WrongState


def activate(engine: Engine, new: PlacedBundle, *, default: PlacedBundle | None, actor: str) -> str | None:
    """Make it live. Returns the digest of the one before.

    Args:
        default: the bundle of the settings, live while none is activated; None where it is broken.

    Raises Unhealthy, WrongState.
    """
    run_once(opened(new))
    return roles.activate(engine, new, default=default, actor=actor)


def roll_back(engine: Engine, *, default: PlacedBundle | None, actor: str) -> tuple[PlacedBundle, str | None]:
    """Take one activation back. Returns what is live now, and the digest of the one before. Raises as `activate`."""
    earlier = roles.before_live(engine)
    run_once(opened(earlier))
    return earlier, roles.activate(engine, earlier, default=default, actor=actor, rollback=True)


def shadow(engine: Engine, new: PlacedBundle, *, default: PlacedBundle | None, actor: str) -> PlacedBundle:
    """Let it score silently. Returns the live one beside which it does. Raises as `activate`."""
    new_bundle = opened(new)
    run_once(new_bundle)
    with reading(engine) as connection:
        live = in_service(connection)[0] or default
    if live is None:
        raise Unhealthy("no bundle is live: 'xrayq bundle activate' one, or correct XRAYQ_BUNDLE")
    live_bundle = opened(live)
    if (live_bundle.preprocess, live_bundle.findings) != (new_bundle.preprocess, new_bundle.findings):
        raise WrongState(f"{new.name} has other findings or reads films in another way than the live {live.name}")
    roles.shadow(engine, new, default=default, actor=actor)
    return live


def live_bundle(engine: Engine, default: Path | None) -> Bundle:
    """The bundle that is live now. Raises Unhealthy when it cannot be loaded here.

    Args:
        default: the settings' bundle; None for the shipped reference.
    """
    with reading(engine) as connection:
        live, _ = in_service(connection)
    try:
        return opened(live or by_settings(default))
    except BundleError as error:
        raise Unhealthy(str(error)) from None


def opened(placed: PlacedBundle) -> Bundle:
    """Raises Unhealthy where it is not whole, not here, or another."""
    try:
        return roles.open_bundle(placed)
    except BundleError as error:
        raise Unhealthy(str(error)) from None


def run_once(bundle: Bundle) -> list[str]:
    """Load the network in each precision, answer one blank film, and name the engines. Raises Unhealthy."""
    try:
        from model.engine.ort import OrtEngine
    except ImportError:
        raise Unhealthy("ONNX Runtime is not installed here: run this where a worker runs") from None
    from model.gate.network import GateNetwork
    from model.gate.rules import Policy, open_gate

    names = []
    try:
        open_gate(bundle, Policy())
        if bundle.gate:
            GateNetwork(bundle).look(np.zeros((1, 1, bundle.preprocess.size, bundle.preprocess.size), np.uint8))
        for precision in ("fp32", *bundle.variants):
            engine = OrtEngine(bundle, threads=1, precision=precision)
            engine.warm_up()
            engine.close()
            names.append(engine.spec.name)
    except ModelError as error:
        raise Unhealthy(str(error)) from None
    return names
