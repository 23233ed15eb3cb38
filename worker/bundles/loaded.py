"""The engines of the bundles in service: opened when a task first needs them, closed when they are out of service.

Roles are read with each message, in the transaction that claims its films; so a change takes effect with the next
message, on every worker, and a film is scored by the bundle that was live when its task began.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from model.bundle import Bundle
from model.engine.base import Engine
from model.errors import EngineError, ModelError, first_line
from model.gate.rules import Gate, Policy, open_gate
from worker.bundles.roles import PlacedBundle, by_settings, in_service, open_bundle
from worker.queue.retry import BUNDLE_SECONDS

log = logging.getLogger("xrayq.worker")


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What scores the films of one message."""

    live: PlacedBundle
    shadows: tuple[PlacedBundle, ...]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A bundle and what runs it."""

    bundle: Bundle
    engine: Engine
    gate: Gate


class Serving:
    """Loaded bundles by digest. Every method may be called from several threads."""

    def __init__(self, *, default: Path | None, open_engine: Callable[[Bundle], Engine], policy: Policy) -> None:
        """
        Args:
            default: the settings' bundle, live while none is activated; None for the shipped reference.
            open_engine: loads an engine and runs it once, or raises ModelError.
            policy: the site's choices, for the gate of each bundle.
        """
        self._default = default
        self._by_settings: PlacedBundle | None = None
        self._open_engine = open_engine
        self._policy = policy
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}

    def current(self, connection: Connection) -> Roles:
        """The roles now. Opens no engine. Raises BundleError when the settings' bundle is live and broken."""
        live, shadows = in_service(connection)
        if live is None:
            live = self._by_settings = self._by_settings or by_settings(self._default)
        return Roles(live=live, shadows=tuple(shadows))

    @contextmanager
    def using(self, placed: PlacedBundle) -> Iterator[Loaded]:
        """The bundle, loaded, and not closed before the block ends.

        Others go on meanwhile, unless they want the same bundle. Raises ModelError when it cannot be loaded.
        """
        with self._lock:
            place = self._places.setdefault(placed.digest, _Place())
            place.users += 1
        try:
            yield place.load(placed, self._open)
        finally:
            with self._lock:
                place.users -= 1

    def keep(self, roles: Roles) -> None:
        """Close what has no role and no user. What is still used is closed another time."""
        wanted = {placed.digest for placed in (roles.live, *roles.shadows)}
        with self._lock:
            free = [digest for digest, place in self._places.items() if digest not in wanted and not place.users]
            dropped = {digest: self._places.pop(digest) for digest in free}
        for digest, place in dropped.items():
            if place.loaded:
                with suppress(ModelError):
                    place.loaded.engine.close()
                log.info("bundle closed", extra={"bundle": digest[:12]})

    def _open(self, placed: PlacedBundle) -> Loaded:
        bundle = open_bundle(placed)
        gate = open_gate(bundle, self._policy)
        return Loaded(bundle=bundle, gate=gate, engine=self._open_engine(bundle))


class _Place:
    """One digest's loaded bundle, or why there is none."""

    def __init__(self) -> None:
        self.users = 0
        self.loaded: Loaded | None = None
        self._lock = threading.Lock()
        self._fault = ""
        self._again = 0.0

    def load(self, placed: PlacedBundle, open_: Callable[[PlacedBundle], Loaded]) -> Loaded:
        with self._lock:
            if self.loaded:
                return self.loaded
            if self._fault and time.monotonic() < self._again:
                raise EngineError(self._fault)
            started = time.monotonic()
            try:
                self.loaded = open_(placed)
            except (ModelError, OSError) as error:
                self._fault, self._again = first_line(error), time.monotonic() + BUNDLE_SECONDS
                log.error("bundle cannot be loaded", extra={"bundle": placed.digest[:12], "reason": self._fault})
                raise EngineError(self._fault) from error
            log.info(
                "bundle loaded",
                extra={
                    "bundle": placed.digest[:12],
                    "engine": self.loaded.engine.spec.name,
                    "ms": round((time.monotonic() - started) * 1e3),
                },
            )
            return self.loaded
