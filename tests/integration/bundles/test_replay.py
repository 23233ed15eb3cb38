"""`xrayq instance replay` on a film that was scored, and on everything that can have gone wrong since."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.errors import EngineError
from model.findings import NOT_NORMAL
from model.gate.rules import Policy
from model.scorer import Score
from tests.bundles import small_bundle, with_threshold
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from tests.services import typed
from worker.bundles import replay, roles
from worker.bundles.loaded import Serving
from worker.bundles.roles import by_settings, placed_bundle
from worker.db import schema
from worker.db.scores import FindingView, ScoreView
from worker.db.session import make_engine, writing
from worker.db.tables import finding_score, score
from worker.instances import list_instances, scores_of
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool, decode_film
from worker.scoring.task import Scoring

PHANTOMS = Policy(mark=frozenset((*NOT_REAL, "too_small")))


@dataclass(frozen=True, kw_only=True)
class Site:
    home: Path
    bundle: Bundle
    database: Engine

    def replay(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return typed("instance", "replay", "1", *words, home=str(self.home), **settings)

    def film(self) -> Path:
        (film,) = (self.home / "spool").glob("*/*.dcm")
        return film


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A home with one film, scored live and by a shadow."""
    folder = tmp_path_factory.mktemp("site")
    home = folder / "home"
    home.mkdir()
    bundle = small_bundle(folder / "live")
    database, spool = make_engine(f"sqlite:///{home / 'xrayq.db'}"), Spool(home / "spool", reserve_bytes=1 << 20)
    schema.upgrade(database)
    spool.prepare()
    shadow = with_threshold(bundle, folder / "shadow", 0.2)
    roles.shadow(database, placed_bundle(shadow), default=by_settings(bundle.path), actor="operator:test")
    film = write_film(folder, pixels=chest_pixels(256, 224))
    ingest(database, spool, store_file(film, spool, "XRAYQ"))
    decoders = DecodePool(processes=1, timeout=60, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=1 << 22)
    try:
        Scoring(
            database=database,
            spool=spool,
            serving=Serving(
                default=bundle.path, open_engine=lambda found: OrtEngine(found, threads=1), policy=PHANTOMS
            ),
            decoders=decoders,
            retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
        ).run({1: 0})
    finally:
        decoders.close()
    assert list_instances(database)[0].state == "scored"
    return Site(home=home, bundle=bundle, database=database)


@pytest.fixture
def site(scored: Site, tmp_path: Path) -> Site:
    """A copy to spoil."""
    shutil.copytree(scored.home, tmp_path / "home")
    return replace(scored, home=tmp_path / "home", database=make_engine(f"sqlite:///{tmp_path / 'home' / 'xrayq.db'}"))


def test_what_was_scored_is_scored_again(site: Site) -> None:
    before = content(site)
    done = site.replay("--json", bundle=str(site.bundle.path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["instance"], found["agrees"]) == (1, True)
    assert [one["role"] for one in found["scores"]] == ["live", "shadow"]
    for one in found["scores"]:
        assert one["engine"]["stored"] == one["engine"]["replay"]
        assert one["tolerance"]["largest"] == 1e-4
        assert max(finding["difference"] for finding in one["findings"].values()) <= 1e-6
    assert content(site) == before
    shown = site.replay("--bundle", str(site.bundle.path))
    assert shown.returncode == 0
    assert "instance 1 agrees" in shown.stdout


def content(site: Site) -> list[str]:
    with closing(sqlite3.connect(site.home / "xrayq.db")) as connection:
        return list(connection.iterdump())


def spoil_film(site: Site) -> None:
    with site.film().open("r+b") as film:
        film.seek(-10, 2)
        film.write(b"\x01")


def forget_shadow(site: Site) -> None:
    with writing(site.database) as connection:
        connection.execute(update(score).where(score.c.role == "shadow").values(bundle_digest="f" * 64))


SPOILT: dict[str, tuple[Callable[[Site], Any], int, str]] = {
    "film gone": (lambda site: site.film().unlink(), 3, "is not in the spool"),
    "film altered": (spoil_film, 5, "was altered"),
    "bundle unknown": (forget_shadow, 3, "bundle ffffffffffff is not here: name its folder with --bundle"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_can_be_missing(site: Site, name: str) -> None:
    spoil, code, message = SPOILT[name]
    spoil(site)
    done = site.replay(bundle=str(site.bundle.path))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "change", [{"logit": finding_score.c.logit + 0.001}, {"flag": ~finding_score.c.flag}, {"probability": 0.5}]
)
def test_a_stored_score_that_was_altered_differs(site: Site, change: dict[str, Any]) -> None:
    with writing(site.database) as connection:
        connection.execute(update(finding_score).where(finding_score.c.finding == "covid19").values(**change))
    live, _ = scores_of(site.database, 1)
    image = decode_film(str(site.film()), site.bundle.preprocess, 1 << 22).image
    assert image is not None
    assert not replay.replay(live, site.bundle, lambda _: image, only_reference).agrees


def test_a_difference_is_exit_code_1(site: Site) -> None:
    with writing(site.database) as connection:
        connection.execute(update(finding_score).values(logit=finding_score.c.logit + 0.001))
    done = site.replay(bundle=str(site.bundle.path))
    assert done.returncode == 1, done.stderr
    assert "instance 1 differs" in done.stdout


def test_no_score_to_repeat(site: Site) -> None:
    with writing(site.database) as connection:
        connection.execute(finding_score.delete())
        connection.execute(score.delete())
    done = site.replay()
    assert (done.returncode, "no score to repeat" in done.stderr) == (4, True)


# engines that are not here


def stored(engine: str, result: Score, bundle: Bundle, **findings: FindingView) -> ScoreView:
    points = {point.finding: point for point in bundle.operating_points}
    return ScoreView(
        role="live",
        bundle_digest=bundle.digest,
        engine=engine,
        software_version="0",
        scored_at=None,  # type: ignore[arg-type]
        findings={
            name: FindingView(
                logit=result.logits[name],
                probability=result.probabilities[name],
                interval=None,
                operating_point=points[name].threshold if name in points else None,
                operating_point_id=None,
                flag=name in result.flags,
            )
            for name in result.logits
        }
        | findings,
        prediction_set=None,
        notes=[],
    )


def only_reference(bundle: Bundle, name: str) -> OrtEngine:
    if name != "onnxruntime":
        raise EngineError("no such device")
    return OrtEngine(bundle, threads=1)


@pytest.mark.parametrize(("shift", "agrees"), [(0.015, True), (0.025, False)])
def test_a_gpu_score_is_repeated_by_the_reference(scored: Site, shift: float, agrees: bool) -> None:
    import numpy as np

    from model.scorer import score as run

    image = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    (result,) = run(OrtEngine(scored.bundle, threads=1), scored.bundle, image[None, None])
    before = stored("tensorrt-10.9.0-fp16", result, scored.bundle)
    moved = replace(before.findings["covid19"], logit=before.findings["covid19"].logit + shift)
    before = replace(before, findings=before.findings | {"covid19": moved})
    found = replay.replay(before, scored.bundle, lambda _: image, only_reference)
    assert found.engine.startswith("onnxruntime-")
    assert found.tolerance.largest == 0.02
    assert found.agrees is agrees


def test_int8_may_differ_by_what_was_measured_of_it() -> None:
    reference = bundles.load(bundles.REFERENCE)
    found = replay.tolerance("onnxruntime-1.20.0-int8", "onnxruntime-1.20.0-fp32", reference)
    assert (found.number, found.largest) == ("probability", reference.variants["int8"]["val"]["largest_difference"])
    assert replay.tolerance("onnxruntime-1.20.0-int8", "onnxruntime-1.21.0-int8", reference).number == "logit"


def test_a_flag_on_the_border_may_fall_to_the_other_side_on_another_engine_only(scored: Site) -> None:
    said = FindingView(
        logit=0.0, probability=0.501, interval=None, operating_point=0.5, operating_point_id=None, flag=True
    )
    view = ScoreView(
        role="live",
        bundle_digest=scored.bundle.digest,
        engine="tensorrt-10.9.0-fp16",
        software_version="0",
        scored_at=None,  # type: ignore[arg-type]
        findings={"covid19": said},
        prediction_set=None,
        notes=[],
    )
    again = replay.Replayed(
        stored=view,
        engine="onnxruntime-1.20.0-fp32",
        logits={"covid19": -0.004},
        probabilities={"covid19": 0.499},
        flags=[],
        prediction_set=None,
        tolerance=replay.tolerance("tensorrt-10.9.0-fp16", "onnxruntime-1.20.0-fp32", scored.bundle),
    )
    assert again.agrees
    assert not replace(
        again, flags=["covid19"], stored=replace(view, findings={"covid19": replace(said, flag=False)})
    ).agrees
    assert not replace(again, engine=view.engine, tolerance=replay.tolerance("a", "a", scored.bundle)).agrees


def test_another_prediction_set_is_a_difference_on_the_same_engine_only(scored: Site) -> None:
    said = FindingView(
        logit=0.0, probability=0.5, interval=None, operating_point=None, operating_point_id=None, flag=False
    )
    result = Score(logits={"covid19": 0.0}, probabilities={"covid19": 0.5}, flags=())
    view = replace(stored("onnxruntime-1.20.0-fp32", result, scored.bundle, covid19=said), prediction_set=["covid19"])
    again = replay.Replayed(
        stored=view,
        engine=view.engine,
        logits=result.logits,
        probabilities=result.probabilities,
        flags=[],
        prediction_set=["covid19"],
        tolerance=replay.tolerance(view.engine, view.engine, scored.bundle),
    )
    assert (again.agrees, again.as_dict()["unsure"]) == (True, {"stored": False, "replay": False})
    other = replace(again, prediction_set=["normal", "covid19"])
    assert (other.agrees, other.as_dict()["unsure"]) == (False, {"stored": False, "replay": True})
    assert replace(other, engine="onnxruntime-1.21.0-fp32").agrees, "a probability may be carried over the set's limit"


def test_the_composite_is_judged_by_its_flag_and_by_the_findings_it_follows_from(scored: Site) -> None:
    """Its logit may move by twice what each finding's may: that alone is no other score."""

    def view(logit: float, probability: float, flag: bool = False) -> FindingView:
        return FindingView(
            logit=logit,
            probability=probability,
            interval=None,
            operating_point=0.5,
            operating_point_id=None,
            flag=flag,
        )

    stored = ScoreView(
        role="live",
        bundle_digest=scored.bundle.digest,
        engine="tensorrt-10.9.0-fp16",
        software_version="0",
        scored_at=None,  # type: ignore[arg-type]
        findings={NOT_NORMAL: view(0.0, 0.5, flag=True), "normal": view(0.0, 0.5), "covid19": view(0.0, 0.5)},
        prediction_set=None,
        notes=[],
    )
    tolerance = replay.tolerance("tensorrt-10.9.0-fp16", "onnxruntime-1.20.0-fp32", scored.bundle)
    step = tolerance.largest * 0.9
    again = replay.Replayed(
        stored=stored,
        engine="onnxruntime-1.20.0-fp32",
        logits={NOT_NORMAL: 2 * step, "normal": -step, "covid19": step},
        probabilities={NOT_NORMAL: 0.51, "normal": 0.49, "covid19": 0.51},
        flags=[NOT_NORMAL],
        prediction_set=None,
        tolerance=tolerance,
    )
    assert again.differences[NOT_NORMAL] > tolerance.largest
    assert again.agrees
    assert not replace(again, flags=[]).agrees
