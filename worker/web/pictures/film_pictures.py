"""Films, their maps, and what the network saw, as PNG files. Decoded in child processes, as for their scores."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import ParamSpec, TypeVar

from dicom_gateway.display import AS_SENT, Look
from dicom_gateway.picture import shape_of
from model.activation_map import FilmMaps
from model.errors import BundleError, EngineError
from model.heat import layer, placed
from model.preprocess import PreprocessSpec
from worker.bundles.networks import FindBundle, Network, Networks
from worker.confined import ConfinedPool
from worker.errors import Busy, NotFound
from worker.web.pictures import child
from worker.web.pictures.faults import BUSY, NO_BUNDLE, NO_MAP, no_picture, of_child
from worker.web.pictures.png import to_png
from worker.web.pictures.values import FilmPicture, InputPicture, MapLayer, Seen, SpooledFilm
from worker.web.turns import Turns

log = logging.getLogger("xrayq.web")

CHILDREN = 2
"""A film that hangs until its time is over holds up half of the others."""
WAITING = 16
KEPT_BYTES = 128 << 20
"""Of decoded films in a child: eight of 8 million pixels."""
DRAWN_BYTES = 12
"""For each pixel of a film while it is drawn, beside what decoding takes: two grey values as float32, and the file."""
MAP_SIDE = 1000
"""Pixels: a map is smooth, and a browser enlarges it as well as we could."""
KEPT_MAPS = 64
"""Films whose maps are kept: of all findings together they take less than a kilobyte."""
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """What scored a film: whose network is asked."""

    bundle_digest: str
    engine: str
    """Its name, as it stands with the score."""


class FilmPictures:
    """Safe to use from several threads."""

    def __init__(
        self,
        find_bundle: FindBundle,
        *,
        memory_bytes: int,
        max_pixels: int,
        seconds: float,
        reduce: bool = True,
        waiting: int = WAITING,
    ) -> None:
        """
        Args:
            memory_bytes: address space of each child, for decoding; what it keeps and draws comes on top of it.
            max_pixels: largest rows x columns that is decoded.
            seconds: for one film, and as long for each turn before.
            reduce: whether JPEG 2000 films are decoded at a lower resolution where they are shown small, as for scores.
            waiting: how many may wait for a child, beside the one it works for, and as many for a map; who comes then
                is told that it is busy.
        """
        self._seconds = seconds
        # Maps are drawn in this process, beside all pages: sixty at once took 2 GB and held pages up for 7 s.
        self._map_turns = Turns(waiting=waiting, seconds=seconds)
        self._reduce = reduce
        self._limits = child.Limits(max_pixels=max_pixels, kept_bytes=KEPT_BYTES)
        self._networks = Networks(find_bundle)
        # Children are forked from a process that imports what they need, once, and begins now.
        forkserver.set_forkserver_preload([child.__name__, "worker.web.pictures.kept"])
        forkserver.ensure_running()
        memory_bytes += KEPT_BYTES + DRAWN_BYTES * max_pixels
        self._children = [_Child(memory_bytes, seconds, waiting) for _ in range(CHILDREN)]
        self._maps: OrderedDict[tuple[str, Scorer], tuple[Seen, FilmMaps]] = OrderedDict()
        self._maps_lock = threading.Lock()

    def picture(self, film: SpooledFilm, *, side: int | None = None, look: Look = AS_SENT) -> FilmPicture:
        """The film as displayed. Raises NoPicture.

        Args:
            side: longest side of the picture, pixels; nothing is enlarged. None: in full size.
            look: `look.window` must be `usable`.
        """
        least_side = max(side, PreprocessSpec().least_side) if side and self._reduce else None
        return self._ask(film, child.picture, film, least_side, side, look, self._limits)

    def input_image(self, film: SpooledFilm, scorer: Scorer) -> InputPicture:
        """What the network saw. Raises NoPicture."""
        image = self._seen(film, self._network(scorer)).image
        return InputPicture(png=to_png(image), size=image.shape[0])

    def map(self, film: SpooledFilm, scorer: Scorer, finding: str, *, side: int | None = None) -> MapLayer:
        """Where a finding's logit came from, as large as the `picture` of this side, and MAP_SIDE at most.

        Raises:
            NoPicture: NO_MAP where the network's head tells none, BUSY.
            NotFound: the network knows no such finding.
        """
        seen, maps = self._film_maps(film, scorer)
        try:
            evidence = maps.evidence(finding)
        except ValueError:
            raise NotFound("the network that scored this film knows no such finding") from None
        rows, columns = shape_of((seen.rows, seen.columns), seen.aspect, min(side or MAP_SIDE, MAP_SIDE))
        with _has(self._map_turns):
            png = to_png(layer(placed(evidence, maps.lattice, rows, columns)))
        return MapLayer(
            png=png,
            rows=rows,
            columns=columns,
            finding=finding,
            most=float(evidence.max()),
            strongest=max(float(maps.evidence(name).max()) for name in maps.findings),
        )

    def close(self) -> None:
        for one in self._children:
            one.pool.close()

    def _film_maps(self, film: SpooledFilm, scorer: Scorer) -> tuple[Seen, FilmMaps]:
        key = film.digest, scorer
        with self._maps_lock:
            if key in self._maps and film.is_there():
                self._maps.move_to_end(key)
                return self._maps[key]
        network = self._network(scorer)
        if network.maps is None:
            raise no_picture(NO_MAP)
        seen = self._seen(film, network)  # before our turn: a film that hangs holds up no map of another
        try:
            with _has(self._map_turns):
                (maps,) = network.maps.of(seen.image[None, None])
        except EngineError as error:
            raise no_picture(NO_MAP) from error
        with self._maps_lock:
            self._maps[key] = seen, maps
            if len(self._maps) > KEPT_MAPS:
                self._maps.popitem(last=False)
        return seen, maps

    def _network(self, scorer: Scorer) -> Network:
        try:
            return self._networks.of(scorer.bundle_digest, scorer.engine)
        except BundleError:
            raise no_picture(NO_BUNDLE) from None

    def _seen(self, film: SpooledFilm, network: Network) -> Seen:
        spec = network.bundle.preprocess
        least_side = spec.least_side if self._reduce else None
        return self._ask(film, child.seen, film, least_side, spec, self._limits)

    def _ask(
        self, film: SpooledFilm, task: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """A film goes to the same child each time: it may have kept it."""
        one = self._children[int(film.digest[:8], 16) % len(self._children)]
        with _has(one.turns):
            return self._answer(one.pool, task, *args, **kwargs)

    def _answer(
        self, pool: ConfinedPool, task: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        future: Future[Answer] | None = None
        try:
            future = pool.submit(task, *args, **kwargs)
            return future.result(timeout=2 * self._seconds)  # the child may have to begin first
        except Exception as error:  # noqa: BLE001 - whatever a child raised, it is about this film alone
            fault = of_child(error)
        finally:
            if future:
                future.cancel()  # kills a child that still works on it
        log.warning("no picture of a film", extra={"reason": fault.reason})
        raise fault


class _Child:
    def __init__(self, memory_bytes: int, seconds: float, waiting: int) -> None:
        self.pool = ConfinedPool(memory_bytes=memory_bytes, seconds=seconds)
        self.turns = Turns(waiting=waiting, seconds=seconds)


@contextmanager
def _has(turns: Turns) -> Iterator[None]:
    """Raises NoPicture."""
    try:
        with turns.turn():
            yield
    except Busy:
        raise no_picture(BUSY) from None
