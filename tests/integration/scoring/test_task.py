"""The score task on both databases, with real decoder processes and the shipped bundle."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from sqlalchemy import Connection, Engine, event, func, select, text, update
from sqlalchemy.exc import StatementError

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.engine.base import EngineSpec
from model.engine.ort import OrtEngine
from model.errors import EngineError
from model.gate.rules import Policy
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from tests.services import typed_in, wait_until
from worker.bundles.loaded import Serving
from worker.db import schema, scores
from worker.db.errors import CommitUnknown
from worker.db.scores import NewScore
from worker.db.session import reading, writing
from worker.db.tables import audit_event, film_measure, finding_score, instance, outbox, score
from worker.errors import WrongState
from worker.instances import InstanceView, list_instances, reject, requeue
from worker.metrics import WorkerMetrics
from worker.queue.outbox import Claims, RelayOptions, relay_once
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring
from worker.states import Role, State

BRIGHT = 114.0
"""Mean of an input, between a phantom's and a brightened one's."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundles.load(bundles.REFERENCE)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> OrtEngine:
    return OrtEngine(bundle, threads=1)


@pytest.fixture(scope="module")
def decoders(bundle: Bundle) -> Iterator[DecodePool]:
    pool = DecodePool(processes=2, timeout=30, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=4_000_000)
    yield pool
    pool.close()


@pytest.fixture
def scoring(database: Engine, spool: Spool, bundle: Bundle, engine: OrtEngine, decoders: DecodePool) -> Scoring:
    return make_scoring(database, spool, bundle, engine, decoders)


def make_scoring(
    database: Engine,
    spool: Spool,
    bundle: Bundle,
    engine: object,
    decoders: DecodePool,
    metrics: WorkerMetrics | None = None,
) -> Scoring:
    return Scoring(
        database=database,
        spool=spool,
        serving=Serving(default=bundle.path, open_engine=lambda _: engine, policy=Policy(mark=frozenset(NOT_REAL))),  # type: ignore[arg-type,return-value]
        decoders=decoders,
        retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
        metrics=metrics,
    )


def take(database: Engine, spool: Spool, path: Path) -> int:
    return ingest(database, spool, store_file(path, spool, "XRAYQ"))[1]


def only(database: Engine) -> InstanceView:
    (view,) = list_instances(database)
    return view


def count(database: Engine, table) -> int:  # type: ignore[no-untyped-def]
    with reading(database) as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_film_is_scored_with_everything_needed_to_repeat_it(
    database: Engine, spool: Spool, scoring: Scoring, engine: OrtEngine, bundle: Bundle, tmp_path: Path
) -> None:
    scoring.run({take(database, spool, write_film(tmp_path)): 0})
    view = only(database)
    assert (view.state, view.reason, view.bundle_digest) == ("scored", None, bundle.digest)
    assert view.engine == engine.spec.name
    assert view.probabilities is not None
    assert list(view.probabilities) == ["not_normal", "normal", "pneumonia", "covid19"]
    assert sum(view.probabilities[name] for name in bundle.findings) == pytest.approx(1)
    assert view.scored_at is not None
    assert view.scored_at >= view.received_at
    with reading(database) as connection:
        row = connection.execute(select(score)).one()
        points = dict(connection.execute(select(finding_score.c.finding, finding_score.c.operating_point)).all())
        actions = connection.execute(select(audit_event.c.action).order_by(audit_event.c.id)).scalars().all()
        measured = connection.execute(select(film_measure)).one()
    assert row.engine.startswith("onnxruntime-")
    assert points == {"normal": None} | {point.finding: point.threshold for point in bundle.operating_points}
    assert actions == ["received", "scored"]
    assert count(database, outbox) == 0
    assert (measured.instance_id, measured.bundle_digest) == (view.id, bundle.digest)
    assert 0.2 < measured.brightness < 0.8
    assert measured.distance > 0


def test_a_score_changed_by_hand_is_named(
    database: Engine, database_url: str, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    """What the task writes is what verifying reads back, to the last bit."""
    ids = [take(database, spool, write_film(tmp_path, f"film{number}")) for number in range(3)]
    scoring.run(dict.fromkeys(ids, 0))
    with typed_in(tmp_path, home=str(tmp_path), database_url=database_url) as xrayq:
        code_before, whole, _ = xrayq("audit", "verify")
        with writing(database) as connection:
            number = connection.execute(select(score.c.id).where(score.c.instance_id == ids[1])).scalar_one()
            which = (finding_score.c.score_id == number) & (finding_score.c.finding == "pneumonia")
            digest = connection.execute(select(score.c.bundle_digest).where(score.c.id == number)).scalar_one()
            connection.execute(update(finding_score).where(which).values(probability=finding_score.c.probability / 2))
        code_after, _, told = xrayq("audit", "verify")
        code_json, found, _ = xrayq("audit", "verify", "--json")
    assert (code_before, code_after, code_json) == (0, 1, 1)
    assert whole.startswith("6 rows, whole; 3 scores held against the trail. Head ")
    fault = f"the score of instance {ids[1]} by bundle {digest[:12]} was altered after it was written"
    assert f"scores and the audit trail differ: {fault}" in " ".join(told.split())
    assert json.loads(found)["scores"] == {
        "checked": 2,
        "before": 0,
        "wrong": 1,
        "named": [{"id": ids[1], "bundle": digest, "found": "was altered after it was written"}],
    }


def code(value: str, scheme: str = "SRT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, ""
    return item


BAD_FILMS: dict[str, tuple[str, str, dict[str, object]]] = {
    "another modality": ("ineligible", "modality", {"Modality": "CT"}),
    "another body part": ("ineligible", "body_part", {"BodyPartExamined": "HAND"}),
    "lateral": ("ineligible", "view", {"ViewPosition": "LL"}),
    "lateral by code": ("ineligible", "view", {"ViewPosition": None, "ViewCodeSequence": [code("R-10236")]}),
    "AP by code": ("ineligible", "view", {"ViewPosition": None, "ViewCodeSequence": [code("399348003", "SCT")]}),
    "PA and lateral": ("ineligible", "view_conflict", {"ViewCodeSequence": [code("399173006", "SCT")]}),
    "PA and AP": ("ineligible", "view_conflict", {"ViewCodeSequence": [code("R-10206")]}),
    "PA, lying like a lateral": ("ineligible", "view_conflict", {"PatientOrientation": ["A", "F"]}),
    "bone image": ("ineligible", "derived", {"ImageType": ["DERIVED", "PRIMARY", "", "DUAL_ENERGY_BONE"]}),
    "phantom": ("ineligible", "quality_control", {"QualityControlImage": "YES"}),
    "a child": ("ineligible", "age", {"PatientAge": "009Y"}),
    "a child by birth date": ("ineligible", "age", {"PatientAge": None, "PatientBirthDate": "20160101"}),
    "a child without a study date": (
        "ineligible",
        "age",
        {"PatientAge": None, "StudyDate": None, "ContentDate": "20260110", "PatientBirthDate": "20150101"},
    ),
    "a name in the picture": ("ineligible", "burned_in", {"BurnedInAnnotation": "YES"}),
    "small": ("ineligible", "too_small", {"pixels": chest_pixels(223, 300)}),
    "empty": ("ineligible", "blank", {"pixels": np.full((300, 300), 700, np.uint16)}),
    "drowned": ("ineligible", "clipped", {"WindowCenter": 3250, "WindowWidth": 1700}),
    "no pixels": ("failed", "no_pixel_data", {"PixelData": None}),
    "no study": ("failed", "study_missing", {"StudyInstanceUID": None}),
    "no series": ("failed", "study_missing", {"SeriesInstanceUID": "series 7"}),
    "huge": ("failed", "too_many_pixels", {"Rows": 65535, "Columns": 65535}),
    "fewer pixels than the header says": ("failed", "corrupt_pixels", {"Rows": 600}),
    "multi-frame": ("failed", "multi_frame", {"NumberOfFrames": 2}),
    "colour": ("failed", "not_grayscale", {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}),
    "no rows": ("failed", "header_incomplete", {"Rows": None}),
}


GOOD_FILMS: dict[str, dict[str, Any]] = {
    "PA by code": {"ViewPosition": None, "ViewCodeSequence": [code("R-10214")]},
    "PA in both": {"ViewPosition": "PA ERECT", "ViewCodeSequence": [code("272479007", "SCT")]},
    "as it is read": {"PatientOrientation": ["L", "F"], "ImageType": ["DERIVED", "PRIMARY"]},
    "mirrored": {"PatientOrientation": ["R", "F"]},
    "processed": {"ImageType": ["DERIVED", "PRIMARY", "POST_PROCESSED"], "QualityControlImage": "NO"},
    "an age without a unit": {"PatientAge": "45"},
}


def test_films_whose_headers_say_it_in_another_way_are_scored_alike(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    plain = take(database, spool, write_film(tmp_path, "plain"))
    ids = [take(database, spool, write_film(tmp_path, name, **changes)) for name, changes in GOOD_FILMS.items()]
    scoring.run(dict.fromkeys([plain, *ids], 0))
    found = {view.id: view for view in list_instances(database)}
    assert {name: found[number].reason for name, number in zip(GOOD_FILMS, ids, strict=True)} == dict.fromkeys(
        GOOD_FILMS
    )
    assert all(found[number].probabilities == found[plain].probabilities for number in ids)


def test_bad_films_get_their_reasons_and_spare_the_others(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    """All in one batch, between two good films."""
    names = ["good one", *BAD_FILMS, "good two"]
    ids = {
        name: take(database, spool, write_film(tmp_path, name, **BAD_FILMS.get(name, ("", "", {}))[2]))
        for name in names
    }
    corrupt = write_film(tmp_path, "corrupt", syntax=uid.JPEG2000Lossless)
    content = bytearray(corrupt.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    content[-400:-16] = bytes(384)
    corrupt.write_bytes(content)
    ids["cut film"] = take(database, spool, corrupt)
    scoring.run(dict.fromkeys(ids.values(), 0))
    ends = {view.id: (view.state, view.reason) for view in list_instances(database)}
    expected = {name: (state, reason) for name, (state, reason, _) in BAD_FILMS.items()}
    assert {name: ends[ids[name]] for name in BAD_FILMS} == expected
    assert ends[ids["good one"]] == ends[ids["good two"]] == ("scored", None)
    assert ends[ids["cut film"]][0] in ("failed", "scored")  # a decoder may conceal errors inside a whole codestream
    assert count(database, outbox) == 0
    with reading(database) as connection:
        measured = dict(connection.execute(select(film_measure.c.instance_id, film_measure.c.contrast)).all())
    decoded = {ids[name] for name in ("good one", "good two", "small", "empty", "drowned")}
    assert decoded <= set(measured), "of each decoded film, scored or refused"
    assert not set(measured) & {ids[name] for name in ("a child", "no pixels", "huge")}
    assert measured[ids["empty"]] == 0.0


def test_films_of_the_release_before_are_judged_by_their_headers(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    """It kept less of the header, and knew fewer ways to say an age."""
    films: dict[str, tuple[str, str | None, dict[str, Any]]] = {
        **BAD_FILMS,
        **{name: ("scored", None, changes) for name, changes in GOOD_FILMS.items()},
        "a child of 7": ("ineligible", "age", {"PatientAge": "007YR"}),
    }
    ids = {name: take(database, spool, write_film(tmp_path, name, **films[name][2])) for name in films}
    gone = store_file(write_film(tmp_path, "gone"), spool, "XRAYQ")
    lost = ingest(database, spool, gone)[1]
    gone.path.unlink()
    schema.downgrade(database, "0007")
    with writing(database) as connection:
        connection.execute(text("UPDATE instance SET age_years = NULL"))
    schema.upgrade(database)
    scoring.run(dict.fromkeys([*ids.values(), lost], 0))
    ends = {view.id: (view.state, view.reason) for view in list_instances(database)}
    assert {name: ends[ids[name]] for name in films} == {name: ending[:2] for name, ending in films.items()}
    assert ends[lost] == ("failed", "spool_missing")


def test_double_delivery_scores_once(database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path) -> None:
    ids = [take(database, spool, write_film(tmp_path, f"film{number}")) for number in range(6)]
    threads = [
        threading.Thread(target=scoring.run, args=(dict.fromkeys(order, 0),), daemon=True)
        for order in (ids, ids[::-1], ids)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    scoring.run(dict.fromkeys(ids, 0))
    assert {view.state for view in list_instances(database)} == {"scored"}
    assert (count(database, score), count(database, finding_score)) == (6, 24)
    with reading(database) as connection:
        actions = connection.execute(select(audit_event.c.action)).scalars().all()
    assert sorted(actions) == ["received"] * 6 + ["scored"] * 6


def test_attempts_run_out(database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    with writing(database) as connection:
        connection.execute(update(outbox).values(attempts=3))
    scoring.run({instance_id: 0})
    assert (only(database).state, only(database).reason) == ("failed", "attempts_exhausted")


class BrokenEngine:
    """An engine whose device is gone."""

    spec = EngineSpec(name="broken", precision="fp32", device="cpu", batches=(1,))

    def warm_up(self) -> None:
        raise EngineError("device lost")

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise EngineError("device lost")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_metrics_follow_the_films(
    database: Engine, spool: Spool, bundle: Bundle, engine: OrtEngine, decoders: DecodePool, tmp_path: Path
) -> None:
    metrics = WorkerMetrics()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"xrayq_{name}", labels)

    films = {
        "good": write_film(tmp_path, "good"),
        "a child": write_film(tmp_path, "child", PatientAge="009Y"),
        "no pixels": write_film(tmp_path, "pixels", PixelData=None),
        "worn out": write_film(tmp_path, "worn"),
    }
    ids = {name: take(database, spool, path) for name, path in films.items()}
    with writing(database) as connection:
        connection.execute(update(outbox).where(outbox.c.instance_id == ids["worn out"]).values(attempts=3))
    make_scoring(database, spool, bundle, BrokenEngine(), decoders, metrics).run({ids["good"]: 0})
    assert value("postponed_batches_total", reason="engine_down") == 1
    assert value("films_total", outcome="scored", reason="") is None
    in_use = {"bundle": bundle.digest[:12], "bundle_version": bundle.version}
    assert value("engine_info", engine="broken", **in_use) == 1

    scoring = make_scoring(database, spool, bundle, engine, decoders, metrics)
    for _ in range(2):  # a message that comes again counts nothing
        scoring.run(dict.fromkeys(ids.values(), 0) | {ids["good"]: 1})
    assert value("films_total", outcome="scored", reason="") == 1
    assert value("films_total", outcome="ineligible", reason="age") == 1
    assert value("films_total", outcome="failed", reason="no_pixel_data") == 1
    assert value("films_total", outcome="failed", reason="attempts_exhausted") == 1
    view = next(one for one in list_instances(database) if one.state == "scored")
    assert view.probabilities is not None
    for finding in bundle.findings:
        probability = view.probabilities[finding]
        assert value("score_probability_sum", finding=finding) == pytest.approx(probability)
        assert value("flags_total", finding=finding) == (finding in (view.flags or []))
    assert value("batch_films_sum") == 1 + 3
    assert value("engine_info", engine=engine.spec.name, **in_use) == 1
    assert value("engine_info", engine="broken", **in_use) is None, "an engine out of use is gone"


class Picky:
    """A real engine that has no finite answer for very bright films, as fp16 may overflow."""

    def __init__(self, engine: OrtEngine) -> None:
        self.spec, self._engine = engine.spec, engine

    def warm_up(self) -> None:
        self._engine.warm_up()

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = self._engine.infer(images)
        logits[images.mean(axis=(1, 2, 3)) > BRIGHT] = np.inf
        return logits


def test_a_film_that_the_engine_cannot_answer_fails_alone(
    database: Engine, spool: Spool, bundle: Bundle, engine: OrtEngine, decoders: DecodePool, tmp_path: Path
) -> None:
    pixels = chest_pixels()
    films = {name: write_film(tmp_path, name, pixels=pixels + step) for step, name in enumerate(("one", "two"))}
    brighter = np.sqrt(pixels / pixels.max()) * pixels.max()
    films["bright"] = write_film(tmp_path, "bright", pixels=brighter.astype(np.uint16))
    ids = {name: take(database, spool, path) for name, path in films.items()}
    make_scoring(database, spool, bundle, Picky(engine), decoders).run(dict.fromkeys(ids.values(), 0))
    ends = {view.id: (view.state, view.reason) for view in list_instances(database)}
    assert ends[ids["bright"]] == ("failed", "engine_refused")
    requeue(database, ids["bright"], "operator:test")
    make_scoring(database, spool, bundle, engine, decoders).run({ids["bright"]: 0})
    assert count(database, film_measure) == 3, "a film that comes again is measured again, in the same row"
    assert [ends[ids[name]][0] for name in ("one", "two")] == ["scored", "scored"]
    assert count(database, outbox) == 0


def test_our_own_fault_is_not_the_films(
    database: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    make_scoring(database, spool, bundle, BrokenEngine(), decoders).run({instance_id: 0})
    assert only(database).state == "received"
    with reading(database) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.attempts, row.claims, row.lease_until) == (0, 1, None)
    assert row.next_attempt_at > only(database).received_at


def with_odd_notes(film: NewScore) -> NewScore:
    """SQLAlchemy makes no JSON of it."""
    return replace(film, notes=(object(),))  # type: ignore[arg-type]


def with_odd_logits(film: NewScore) -> NewScore:
    """The driver does not know its type."""
    return replace(film, score=replace(film.score, logits=dict.fromkeys(film.score.logits, object())))  # type: ignore[arg-type]


@pytest.mark.parametrize("made_odd", [with_odd_notes, with_odd_logits])
def test_a_value_that_cannot_be_written_costs_its_film_alone(
    database: Engine,
    spool: Spool,
    scoring: Scoring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    made_odd: Callable[[NewScore], NewScore],
) -> None:
    ids = [take(database, spool, write_film(tmp_path, str(number))) for number in range(3)]
    write = scores.write

    def write_odd(
        connection: Connection, bundle: Bundle, engine: str, role: Role, films: list[NewScore], now: datetime
    ) -> None:
        odd = [made_odd(film) if film.instance_id == ids[1] else film for film in films]
        write(connection, bundle, engine, role, odd, now)

    monkeypatch.setattr(scores, "write", write_odd)

    def work(claims: Claims) -> None:
        with suppress(StatementError, TypeError):  # counted, and raised for the log
            scoring.run(claims)

    def deliver_due() -> bool:
        relay_once(database, work, options)
        return count(database, outbox) == 0

    options = RelayOptions(batch_size=8, max_in_flight=8, lease_seconds=30, poll_seconds=0.1)
    wait_until(deliver_due, 20, "the end of each film")
    ends = {view.id: (view.state, view.reason) for view in list_instances(database)}
    assert [ends[film] for film in ids] == [("scored", None), ("failed", "attempts_exhausted"), ("scored", None)]


def lock(database: Engine, table: str) -> Connection:
    """Nobody gets at the table until this connection is closed."""
    connection = database.connect()
    connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
    return connection


@pytest.fixture
def impatient(database: Engine) -> Engine:
    """It gives up a lock after a moment, not after 20 s."""

    @event.listens_for(database, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.seconds = 0.5

    database.dispose()
    return database


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_fault_of_the_database_is_not_the_films(
    impatient: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    instance_id = take(impatient, spool, write_film(tmp_path))
    with lock(impatient, "score"):
        scoring.run({instance_id: 0})
    with reading(impatient) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.attempts, row.claims, row.lease_until) == (0, 1, None)
    scoring.run({instance_id: 1})
    assert only(impatient).state == "scored"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_attempt_is_given_back_when_the_database_is_there_again(
    impatient: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    instance_id = take(impatient, spool, write_film(tmp_path))
    with writing(impatient) as connection:
        connection.execute(update(outbox).values(attempts=2))  # of three
    locked: list[Connection] = []

    class Locking(OrtEngine):
        def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            if not locked:
                locked.append(lock(impatient, "outbox"))
            return super().infer(images)

    scoring = make_scoring(impatient, spool, bundle, Locking(bundle, threads=1), decoders)
    scoring.run({instance_id: 0})
    locked[0].close()
    with reading(impatient) as connection:
        assert connection.execute(select(outbox.c.attempts)).scalar_one() == 3
    scoring.run({instance_id: 1})
    assert only(impatient).state == "scored"


def test_a_film_gone_from_the_spool(database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    next(spool.root.glob("*/*.dcm")).unlink()
    scoring.run({instance_id: 0})
    assert only(database).reason == "spool_missing"


@pytest.mark.parametrize("deed", ["the film of another patient", "second half overwritten"])
def test_a_file_that_is_not_the_film_that_was_received(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path, deed: str
) -> None:
    film = write_film(tmp_path, "one")
    received = store_file(film, spool, "XRAYQ")
    other = store_file(write_film(tmp_path, "other"), spool, "XRAYQ").path.read_bytes()
    _, instance_id = ingest(database, spool, received)
    whole = received.path.read_bytes()
    half = len(whole) // 2
    received.path.write_bytes(other if "another" in deed else whole[:half] + bytes(len(whole) - half))
    scoring.run({instance_id: 0})
    assert (only(database).state, only(database).reason) == ("failed", "spool_damaged")
    assert count(database, score) == 0
    store_file(film, spool, "XRAYQ")  # comes again, and mends it
    requeue(database, instance_id, "operator:test")
    scoring.run({instance_id: 0})
    assert only(database).state == "scored"


def test_requeue_and_reject(database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path) -> None:
    instance_id = take(database, spool, write_film(tmp_path, NumberOfFrames=2))
    scoring.run({instance_id: 0})
    requeue(database, instance_id, "operator:test")
    assert (only(database).state, only(database).reason, count(database, outbox)) == ("received", None, 1)
    scoring.run({instance_id: 0})
    reject(database, instance_id, "operator:test")
    assert (only(database).state, only(database).reason) == ("ineligible", "operator")
    with reading(database) as connection:
        actions = connection.execute(select(audit_event.c.action).order_by(audit_event.c.id)).scalars().all()
    assert actions == ["received", "failed", "requeued", "failed", "rejected"]


def test_a_film_without_a_study_is_not_requeued(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    """It would fail again at once, whatever its attempts."""
    instance_id = take(database, spool, write_film(tmp_path, StudyInstanceUID=None))
    scoring.run({instance_id: 0})
    with pytest.raises(WrongState, match=f"send it again, then 'xrayq instance reject {instance_id}'"):
        requeue(database, instance_id, "operator:test")
    assert (only(database).state, count(database, outbox)) == ("failed", 0)
    reject(database, instance_id, "operator:test")
    assert only(database).reason == "operator"


def test_a_finished_batch_is_told_by_its_ends(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [
        take(database, spool, write_film(tmp_path, name, **changes))
        for name, changes in {
            "a": {},
            "b": {"Modality": "CT"},
            "c": {"NumberOfFrames": 2},
            "d": {"Modality": "MR"},
        }.items()
    ]
    with caplog.at_level("INFO", "xrayq"):
        scoring.run(dict.fromkeys(ids, 0))
    (line,) = [vars(one) for one in caplog.records if one.message == "finished a batch"]
    assert [line[name] for name in ("instances", "scored", "ineligible", "failed")] == [4, 1, 2, 1]
    with reading(database) as connection:
        digests = dict(connection.execute(select(instance.c.id, instance.c.digest)).tuples().all())
    lines = [vars(one) for one in caplog.records if one.message in set(State)]
    assert {(one["instance"], one["digest"], one["message"], one.get("reason")) for one in lines} == {
        (key, digests[key][:12], *end)
        for key, end in zip(
            ids,
            [("scored", None), ("ineligible", "modality"), ("failed", "multi_frame"), ("ineligible", "modality")],
            strict=True,
        )
    }
    assert len(lines) == 4


def test_what_conflicts_is_shown_and_reasons_are_listed(
    database: Engine, database_url: str, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    film = write_film(tmp_path, PatientOrientation=["A", "F"])
    instance_id = take(database, spool, film)
    take(database, spool, write_film(tmp_path, "other"))
    scoring.run({instance_id: 0})
    with typed_in(tmp_path, home=str(tmp_path), database_url=database_url) as xrayq:
        lines = [" ".join(line.split()) for line in xrayq("instance", "show", str(instance_id))[1].splitlines()]
        (view,) = json.loads(xrayq("instance", "show", str(instance_id), "--json")[1])
        listed = [
            [one["id"] for one in json.loads(xrayq("instance", "list", *words, "--json")[1])]
            for words in (("--reason", "view_conflict"), ("--reason", "age"), ("--state", "ineligible"))
        ]
        _, nothing, hint = xrayq("instance", "list", "--reason", "view_conflit", "--json")
    assert (json.loads(nothing), hint) == (
        [],
        "xrayq: no instance has reason view_conflit. Did you mean view_conflict?\n",
    )
    dataset = pydicom.dcmread(film)
    assert view["study_instance_uid"] == dataset.StudyInstanceUID
    for line in (
        "reason view_conflict",
        "view_position PA",
        r"patient_orientation A\F",
        "views PA, LATERAL",
        "called_ae XRAYQ",
        f"study_instance_uid {dataset.StudyInstanceUID}",
        f"series_instance_uid {dataset.SeriesInstanceUID}",
        f"sop_class {dataset.SOPClassUID.name}, {dataset.SOPClassUID}",
    ):
        assert line in lines
    assert (view["views"], view["called_ae"], view["sop_class"]) == (
        ["PA", "LATERAL"], "XRAYQ", dataset.SOPClassUID.name,
    )  # fmt: skip
    assert listed == [[instance_id], [], [instance_id]]


def test_an_old_message_is_not_worked_on(database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    with writing(database) as connection:
        connection.execute(update(outbox).values(claims=2))
    scoring.run({instance_id: 1})
    assert only(database).state == "received"
    with reading(database) as connection:
        assert connection.execute(select(outbox.c.attempts)).scalar_one() == 0
    scoring.run({instance_id: 2})
    assert only(database).state == "scored"


def test_a_spool_that_is_away_is_not_the_films_fault(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    spool.root.rename(tmp_path / "unmounted")
    scoring.run({instance_id: 0})
    assert only(database).state == "received"
    with reading(database) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.attempts, row.claims, row.lease_until) == (0, 1, None)
    (tmp_path / "unmounted").rename(spool.root)
    scoring.run({instance_id: 1})
    assert only(database).state == "scored"


def test_a_film_that_was_put_back_in_a_commit_of_which_nobody_knew_is_owed_nothing(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker does not know that the attempt is not counted any more, and would take one more."""
    instance_id = take(database, spool, write_film(tmp_path))
    with writing(database) as connection:
        connection.execute(update(outbox).values(attempts=1))
    spool.root.rename(tmp_path / "unmounted")
    put_back = scoring._put_back

    def unknown(rows: list[Any], fault: Any) -> None:
        put_back(rows, fault)
        raise CommitUnknown("the connection broke")

    monkeypatch.setattr(scoring, "_put_back", unknown)
    scoring.run({instance_id: 0})
    monkeypatch.undo()
    scoring.run({instance_id: 1})
    with reading(database) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.attempts, row.claims) == (1, 2)


def test_a_film_that_cannot_be_read_from_a_spool_that_can_is_tried_again_and_failed(
    database: Engine, spool: Spool, scoring: Scoring, tmp_path: Path
) -> None:
    bad, good = (take(database, spool, write_film(tmp_path, name)) for name in ("bad", "good"))
    with reading(database) as connection:
        digest = connection.execute(select(instance.c.digest).where(instance.c.id == bad)).scalar_one()
    path = spool.path_of(digest)
    path.unlink()
    path.mkdir()  # reading it raises an OSError, for root too
    scoring.run({bad: 0, good: 0})
    with reading(database) as connection:
        row = connection.execute(select(outbox)).one()
    assert (row.instance_id, row.attempts, row.claims, row.lease_until) == (bad, 1, 1, None)
    for claims in (1, 2, 3):
        scoring.run({bad: claims})
    with reading(database) as connection:
        ends = {row.id: (row.state, row.reason) for row in connection.execute(select(instance))}
    assert ends == {bad: ("failed", "attempts_exhausted"), good: ("scored", None)}


def test_leases_are_renewed_while_the_work_lasts(
    database: Engine, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    instance_id = take(database, spool, write_film(tmp_path))
    slow = Scoring(
        database=database,
        spool=spool,
        serving=Serving(
            default=bundle.path, open_engine=lambda _: BrokenEngine(), policy=Policy(mark=frozenset(NOT_REAL))
        ),  # type: ignore[arg-type,return-value]
        decoders=decoders,
        retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=0.3),
    )

    def lease_end() -> datetime:
        with reading(database) as connection:
            return connection.execute(select(outbox.c.lease_until)).scalar_one()

    rows, _ = slow._begin({instance_id: 0})
    with slow._keeping_leases(rows):
        first = lease_end()
        wait_until(lambda: lease_end() > first, 5, "a later lease")
