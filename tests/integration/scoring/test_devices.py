"""Films of two X-ray devices under one bundle: each takes its device's calibration, live and under a shadow."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.engine.ort import OrtEngine
from model.gate.rules import Policy
from tests.bundles import device_calibration, small_bundle
from tests.phantoms import NOT_REAL, chest_pixels, write_film
from worker.bundles import roles
from worker.bundles.loaded import Serving
from worker.bundles.roles import by_settings, placed_bundle
from worker.db.session import reading, writing
from worker.db.tables import audit_event, instance
from worker.instances import list_instances, scores_of
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring
from worker.states import Role

PIXELS = chest_pixels(256, 224)
MADE_BY = {"Manufacturer": "ACME Imaging ", "ManufacturerModelName": "Plate 5"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Flags from .9 on; for the station DX2 from .1 on."""
    folder = tmp_path_factory.mktemp("bundle")
    small = small_bundle(folder)
    points = tuple(replace(point, threshold=0.9) for point in small.operating_points)
    room = device_calibration(small, "room-2", 0.1, station="DX2", manufacturer="acme  imaging")
    return bundles.derive(small, folder / "devices", operating_points=points, devices=(room,))


def run(database: Engine, spool: Spool, bundle: Bundle, ids: list[int]) -> None:
    decoders = DecodePool(processes=1, timeout=60, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=1 << 22)
    serving = Serving(
        default=bundle.path,
        open_engine=lambda found: OrtEngine(found, threads=1),
        policy=Policy(mark=frozenset(NOT_REAL)),
    )
    retry = RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30)
    try:
        Scoring(database=database, spool=spool, serving=serving, decoders=decoders, retry=retry).run(
            dict.fromkeys(ids, 0)
        )
    finally:
        decoders.close()


def test_each_film_takes_the_calibration_of_its_device(
    database: Engine, spool: Spool, bundle: Bundle, tmp_path: Path
) -> None:
    shadow = bundles.derive(
        bundle, tmp_path / "shadow", name="shadow", devices=(device_calibration(bundle, "ae", 0.2, calling_ae="CR1"),)
    )
    roles.shadow(database, placed_bundle(shadow), default=by_settings(bundle.path), actor="operator:test")
    films = {
        "other": ("CR1", {"StationName": "DX1"} | MADE_BY),
        "room": ("PACS", {"StationName": "dx2"} | MADE_BY),
        "nameless": ("CR1", {}),
    }
    ids = {}
    for name, (calling_ae, attributes) in films.items():
        film = store_file(write_film(tmp_path, name, pixels=PIXELS, **attributes), spool, "XRAYQ")
        ids[name] = ingest(database, spool, replace(film, calling_ae=calling_ae))[1]
    before = store_file(write_film(tmp_path, "before", pixels=PIXELS, StationName="DX2", **MADE_BY), spool, "XRAYQ")
    ids["before"] = ingest(database, spool, before)[1]
    with writing(database) as connection:  # as the release before wrote it
        nothing = dict.fromkeys(("manufacturer", "model_name", "station"))
        connection.execute(update(instance).where(instance.c.id == ids["before"]).values(nothing))
    run(database, spool, bundle, list(ids.values()))

    found = {name: {score.role: score for score in scores_of(database, number)} for name, number in ids.items()}
    took = {name: (score[Role.LIVE].device, score[Role.SHADOW].device) for name, score in found.items()}
    assert took == {
        "other": (None, "ae"),
        "room": ("room-2", None),
        "nameless": (None, "ae"),
        "before": ("room-2", None),
    }
    plain, room = found["other"][Role.LIVE], found["room"][Role.LIVE]
    assert plain.findings["normal"].logit == room.findings["normal"].logit
    assert plain.findings["normal"].probability != room.findings["normal"].probability
    assert {one.operating_point for one in plain.findings.values()} - {None} == {0.9}
    assert {one.operating_point for one in room.findings.values()} - {None} == {0.1}
    assert room.prediction_set == list(bundle.findings)
    assert "device" not in plain.as_dict()
    assert room.as_dict()["device"] == "room-2"
    views = {view.id: view for view in list_instances(database)}
    assert (views[ids["room"]].manufacturer, views[ids["room"]].station) == ("ACME Imaging", "dx2")
    assert views[ids["nameless"]].as_dict()["station"] == ""
    assert "station" not in views[ids["before"]].as_dict()
    with reading(database) as connection:
        details = (
            connection.execute(select(audit_event.c.detail).where(audit_event.c.action == "scored")).scalars().all()
        )
    assert sorted(detail.get("device", "") for detail in details) == ["", "", "room-2", "room-2"]
