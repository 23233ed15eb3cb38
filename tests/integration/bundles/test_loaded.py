"""Live and shadow bundles in the score task: changed between messages, broken, and used by several threads."""

import errno
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.engine.base import EngineSpec
from model.engine.ort import OrtEngine
from model.errors import EngineError
from model.gate.rules import Policy
from model.preprocess import PreprocessSpec
from tests.bundles import small_bundle, with_threshold
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from tests.services import wait_until
from worker.audit import trail
from worker.audit.score_check import ScoreCheck
from worker.bundles import roles
from worker.bundles.loaded import Serving
from worker.bundles.overview import overview
from worker.bundles.roles import by_settings, placed_bundle
from worker.bundles.shadows import SKIPPED
from worker.db.session import reading
from worker.db.tables import audit_event, outbox, score
from worker.instances import list_instances, scores_of
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring

WHO = "operator:test"
PHANTOMS = Policy(mark=frozenset((*NOT_REAL, "too_small")))


class Opener:
    """Opens real engines, counts them and their ends; refuses those it is told to."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.refused: set[str] = set()
        self.failing: set[str] = set()

    def __call__(self, bundle: Bundle) -> "Watched":
        if bundle.digest in self.refused:
            raise EngineError("no memory")
        self.opened.append(bundle.name)
        return Watched(bundle, self)


class Watched:
    def __init__(self, bundle: Bundle, opener: Opener) -> None:
        self._bundle, self._opener, self._engine = bundle, opener, OrtEngine(bundle, threads=1)
        self.spec: EngineSpec = self._engine.spec
        self._open = True

    def warm_up(self) -> None:
        self._engine.warm_up()

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert self._open, "used after it was closed"
        if self._bundle.digest in self._opener.failing:
            raise EngineError("device lost")
        return self._engine.infer(images)

    def close(self) -> None:
        self._open = False
        self._opener.closed.append(self._bundle.name)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """The settings' bundle and two others, with other weights and other thresholds."""
    folder = tmp_path_factory.mktemp("bundles")
    first = small_bundle(folder / "first")
    return [first, small_bundle(folder / "second", seed=1), with_threshold(first, folder / "third", 0.5)]


@pytest.fixture(scope="module")
def decoders(family: list[Bundle]) -> Iterator[DecodePool]:
    pool = DecodePool(processes=1, timeout=60, memory_bytes=4 << 30, spec=family[0].preprocess, max_pixels=4_000_000)
    yield pool
    pool.close()


class Site:
    """A worker's scoring, its database, and films to send."""

    def __init__(self, database: Engine, spool: Spool, folder: Path, default: Bundle, decoders: DecodePool) -> None:
        self.database, self.opener = database, Opener()
        self.serving = Serving(default=default.path, open_engine=self.opener, policy=PHANTOMS)
        self.default = by_settings(default.path)
        self._spool, self._folder, self._films = spool, folder, 0
        self.scoring = Scoring(
            database=database,
            spool=spool,
            serving=self.serving,
            decoders=decoders,
            retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
        )

    def receive(self, count: int = 1) -> list[int]:
        ids = []
        for _ in range(count):
            self._films += 1
            pixels = chest_pixels(128, 112, seed=self._films)
            path = write_film(self._folder, f"film{self._films}", pixels=pixels)
            ids.append(ingest(self.database, self._spool, store_file(path, self._spool, "XRAYQ"))[1])
        return ids

    def score(self, count: int = 1) -> list[int]:
        ids = self.receive(count)
        self.scoring.run(dict.fromkeys(ids, 0))
        return ids

    def activate(self, bundle: Bundle) -> None:
        roles.activate(self.database, placed_bundle(bundle), default=self.default, actor=WHO)

    def shadow(self, bundle: Bundle) -> None:
        roles.shadow(self.database, placed_bundle(bundle), default=self.default, actor=WHO)

    def said(self, instance_id: int) -> list[tuple[str, str]]:
        return [(one.role, one.bundle_digest) for one in scores_of(self.database, instance_id)]

    def counts(self) -> Counter[tuple[str, str]]:
        with reading(self.database) as connection:
            rows = connection.execute(select(score.c.role, score.c.bundle_digest)).all()
        return Counter((row.role, row.bundle_digest) for row in rows)


@pytest.fixture
def site(database: Engine, spool: Spool, tmp_path: Path, family: list[Bundle], decoders: DecodePool) -> Site:
    return Site(database, spool, tmp_path, family[0], decoders)


def test_changes_take_effect_with_the_next_message(site: Site, family: list[Bundle]) -> None:
    first, second, third = family
    expected = []
    (film,) = site.score()
    expected.append((film, [("live", first.digest)]))
    site.shadow(second)
    (film,) = site.score()
    expected.append((film, [("live", first.digest), ("shadow", second.digest)]))
    site.shadow(third)
    (film,) = site.score()
    expected.append((film, [("live", first.digest), ("shadow", second.digest), ("shadow", third.digest)]))
    site.activate(second)
    (film,) = site.score()
    expected.append((film, [("live", second.digest), ("shadow", third.digest)]))
    roles.retire(site.database, third.digest, WHO)
    earlier = roles.before_live(site.database)
    roles.activate(site.database, earlier, default=site.default, actor=WHO, rollback=True)
    (film,) = site.score()
    expected.append((film, [("live", first.digest)]))
    assert [(film, site.said(film)) for film, _ in expected] == expected
    assert site.opener.opened == ["small0", "small1", "third", "small0"]
    assert sorted(site.opener.closed) == ["small0", "small1", "third"]


def test_lists_show_live_scores_alone_and_show_shows_all(site: Site, family: list[Bundle]) -> None:
    first, _, third = family
    site.shadow(third)
    (film,) = site.score()
    assert trail.verify(site.database).scores == ScoreCheck(checked=2)
    (view,) = list_instances(site.database)
    assert view.bundle_digest == first.digest
    live, shadow = scores_of(site.database, film)
    assert view.flags == live.flags == ["pneumonia"]
    assert (live.software_version, live.notes, live.prediction_set) == (shadow.software_version, shadow.notes, None)
    assert "too_small" in live.notes
    assert {name: said.logit for name, said in live.findings.items()} == {
        name: said.logit for name, said in shadow.findings.items()
    }
    assert {said.operating_point for said in shadow.findings.values()} == {None, 0.5}
    assert all(
        said.flag == (said.operating_point is not None and said.probability >= said.operating_point)
        for said in shadow.findings.values()
    )


def test_films_wait_while_the_live_bundle_cannot_be_loaded(site: Site, family: list[Bundle], tmp_path: Path) -> None:
    """And no other bundle takes its place."""
    folder = tmp_path / "away"
    moved = bundles.derive(family[1], tmp_path / "here")
    site.activate(moved)
    moved.path.rename(folder)
    (film,) = site.score()
    assert site.said(film) == []
    with reading(site.database) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.attempts, row.claims, row.lease_until) == (0, 1, None)
    folder.rename(moved.path)
    site.scoring.run({film: 1})
    assert site.said(film) == []  # looked at again after a while, not with every message
    site.serving = site.scoring._serving = Serving(default=family[0].path, open_engine=site.opener, policy=PHANTOMS)
    site.scoring.run({film: 2})
    assert site.said(film) == [("live", moved.digest)]


def test_a_shadow_that_cannot_score_hurts_nobody_and_is_on_record(
    site: Site, family: list[Bundle], tmp_path: Path
) -> None:
    first, second, third = family
    gone = bundles.derive(second, tmp_path / "gone", version="gone")
    coarse = bundles.derive(first, tmp_path / "coarse", preprocess=PreprocessSpec(size=64))
    for bundle in (second, third, gone, coarse):
        site.shadow(bundle)
    shutil.rmtree(gone.path)
    site.opener.failing.add(second.digest)
    site.score(3)
    assert site.counts() == {("live", first.digest): 3, ("shadow", third.digest): 3}
    with reading(site.database) as connection:
        found = [row.detail for row in connection.execute(select(audit_event).where(audit_event.c.action == SKIPPED))]
    reasons = {one["bundle"]: (one["films"], one["reason"]) for one in found}
    assert reasons[second.digest] == (3, "device lost")
    assert reasons[coarse.digest] == (3, "it reads films in another way than the live bundle")
    assert "manifest.json" in reasons[gone.digest][1]
    skipped = {row.digest: row.skipped for row in overview(site.database, site.default)}
    assert skipped == {first.digest: 0, second.digest: 3, third.digest: 0, gone.digest: 3, coarse.digest: 3}


def test_a_bundle_that_reads_films_at_another_size_can_be_live(site: Site, tmp_path: Path) -> None:
    (before,) = site.score()
    reference = bundles.load(bundles.REFERENCE)
    site.activate(reference)
    (film,) = site.score()
    assert site.said(film) == [("live", reference.digest)]
    assert site.said(before) != site.said(film)


def test_activated_under_load_by_several_threads(site: Site, family: list[Bundle]) -> None:
    """Each film has one live score; no engine is used after it was closed; shadows score each film once."""
    first, second, third = family
    site.shadow(third)
    messages = [site.receive(4) for _ in range(12)]
    todo, faults = iter(messages), []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                message = next(todo, None)
            if message is None:
                return
            try:
                site.scoring.run(dict.fromkeys(message, 0))
                site.scoring.run(dict.fromkeys(message, 0))  # Redis delivers twice
            except BaseException as error:
                faults.append(error)
                raise

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number, bundle in enumerate((second, first, second)):
        wait_until(lambda done=10 * (number + 1): site.counts().total() > done, 60, "more scores")  # type: ignore[misc]
        site.activate(bundle)
    for thread in threads:
        thread.join(120)
    assert faults == []
    counts = site.counts()
    films = [film for message in messages for film in message]
    assert counts["live", first.digest] + counts["live", second.digest] == len(films)
    assert min(counts["live", first.digest], counts["live", second.digest]) > 0
    assert counts["shadow", third.digest] == len(films)
    assert {view.state for view in list_instances(site.database)} == {"scored"}


def waits_uncounted(site: Site, film: int) -> bool:
    with reading(site.database) as connection:
        attempts = connection.execute(select(outbox.c.attempts).where(outbox.c.instance_id == film)).scalar_one()
    return not attempts and not site.said(film)


def test_a_share_that_cannot_be_read_is_not_the_films_fault(site: Site, family: list[Bundle]) -> None:
    def stale(_bundle: Bundle) -> Watched:
        raise OSError(errno.ESTALE, "Stale file handle")

    site.scoring._serving = Serving(default=family[0].path, open_engine=stale, policy=PHANTOMS)
    (film,) = site.score()
    assert waits_uncounted(site, film)


def test_a_gate_of_another_release_opens_no_engine(site: Site, family: list[Bundle], tmp_path: Path) -> None:
    gate = {"thresholds": {"of tomorrow": 0.5}}
    odd = bundles.derive(family[0], tmp_path / "odd", name="odd", files={bundles.GATE: family[0].onnx}, gate=gate)
    site.activate(odd)
    (film,) = site.score()
    assert waits_uncounted(site, film)
    assert site.opener.opened == []


def test_the_settings_bundle_is_broken_and_none_is_activated(site: Site, family: list[Bundle], tmp_path: Path) -> None:
    site.serving = site.scoring._serving = Serving(
        default=tmp_path / "nowhere", open_engine=site.opener, policy=PHANTOMS
    )
    (film,) = site.score()
    assert site.said(film) == []
    with reading(site.database) as connection:
        assert connection.execute(select(outbox.c.claims)).scalar_one() == 0
    site.activate(family[1])
    site.scoring.run({film: 0})
    assert site.said(film) == [("live", family[1].digest)]
