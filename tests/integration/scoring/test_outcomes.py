"""The shipped bundle's gate on real films: the public sample, and the labelled films where they are."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from sqlalchemy import Engine, select

from dicom_gateway.encode import derived_uid, save
from dicom_gateway.local import store_file
from dicom_gateway.notes import NOTES
from dicom_gateway.spool import Spool
from model import bundle as bundles
from model.bundle import Bundle
from model.data.dataset import Films, load_dataset
from model.data.prepare import prepare
from model.data.raw_films import read_image
from model.engine.ort import OrtEngine
from model.gate.quality import Quality, measure
from model.gate.rules import Facts, Gate, Policy, Verdict, open_gate
from tests.phantoms import chest_film
from tests.services import typed_in
from worker.bundles.loaded import Serving
from worker.db.session import reading
from worker.db.tables import audit_event
from worker.demo import CHEST, OTHER, sample_path
from worker.instances import count_by_reason, list_instances
from worker.queue.retry import RetryOptions
from worker.receiving.ingest import ingest
from worker.scoring.decoding import DecodePool
from worker.scoring.task import Scoring

FINE = Quality(rows=1024, columns=1024, contrast=0.8, entropy=5.5, clipped=0.0, brightness=0.5)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    found = bundles.load(bundles.REFERENCE)
    if found.gate is None:
        pytest.skip("the shipped bundle has no gate: 'xrayq gate train' makes one")
    return found


@pytest.fixture(scope="module")
def decoders(bundle: Bundle) -> Iterator[DecodePool]:
    pool = DecodePool(processes=2, timeout=30, memory_bytes=4 << 30, spec=bundle.preprocess, max_pixels=9_000_000)
    yield pool
    pool.close()


def sample(name: str, **attributes: Any) -> Dataset:
    film = dcmread(sample_path(name))
    film.BodyPartExamined, film.ViewPosition, film.PatientAge = "CHEST", "PA", "045Y"
    for keyword, value in attributes.items():
        setattr(film, keyword, value)
    return film


def changed(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    """The sample chest film's header with other pixels."""
    film = sample(CHEST, **attributes)
    film.Rows, film.Columns = pixels.shape
    film.PixelData = np.ascontiguousarray(pixels.astype(np.uint16)).tobytes()
    return film


def made_films() -> dict[str, tuple[str, str | None, Dataset]]:
    """Name -> (state, reason, film). All are tagged as PA chest films of adults, but for what the name says."""
    pixels = dcmread(sample_path(CHEST)).pixel_array
    top = int(pixels.max())
    random = np.random.default_rng(4)
    noise = random.integers(0, top, (600, 600))
    flipped = "MONOCHROME2" if sample(CHEST).PhotometricInterpretation == "MONOCHROME1" else "MONOCHROME1"
    return {
        "chest": ("scored", None, sample(CHEST)),
        "chest without a view": ("scored", None, sample(CHEST, ViewPosition="")),
        "chest called AP": ("ineligible", "view", sample(CHEST, ViewPosition="AP")),
        "chest called CT": ("ineligible", "modality", sample(CHEST, Modality="CT")),
        "chest of a child": ("ineligible", "age", sample(CHEST, PatientAge="011Y")),
        "inverted": ("ineligible", "inverted", sample(CHEST, PhotometricInterpretation=flipped)),
        "upside down": ("ineligible", "rotated", changed(pixels[::-1, ::-1])),
        "upside down, and says so": (
            "ineligible",
            "orientation",
            changed(pixels[::-1, ::-1], PatientOrientation=["R", "H"]),
        ),
        "upright, and says otherwise": ("scored", None, sample(CHEST, PatientOrientation=["R", "H"])),
        "on its side": ("ineligible", "rotated", changed(np.rot90(pixels))),
        "tibia": ("ineligible", "not_a_chest_film", sample(OTHER, PatientBirthDate="19600101")),
        "tibia, acquired at 13, study date 11 years later": ("ineligible", "age", sample(OTHER)),
        "chest for processing": (
            "ineligible",
            "for_processing",
            sample(CHEST, PresentationIntentType="FOR PROCESSING", WindowCenter=None, WindowWidth=None),
        ),
        "chest with odd parts": (
            "scored",
            None,
            sample(CHEST, ShutterShape="BITMAP", VOILUTSequence=Sequence([Dataset()]), PixelAspectRatio=[100, 1]),
        ),
        "noise": ("ineligible", "not_a_chest_film", changed(noise)),
        "blank": ("ineligible", "blank", chest_film("blank", pixels=np.full((400, 400), 90, np.uint16))),
    }


def last_detail(database: Engine, instance_id: int) -> dict[str, Any]:
    """Of a film's newest audit event."""
    query = select(audit_event.c.detail).where(audit_event.c.instance_id == instance_id)
    with reading(database) as connection:
        detail: dict[str, Any] = connection.execute(query.order_by(audit_event.c.id.desc()).limit(1)).scalar_one()
    return detail


def shown_in_words(database_url: str, folder: Path, instance_id: int) -> str:
    with typed_in(folder, home=str(folder), database_url=database_url) as xrayq:
        return " ".join(xrayq("instance", "show", str(instance_id))[1].split())


def test_the_public_sample_film_and_what_can_be_done_to_it(
    database: Engine, database_url: str, spool: Spool, bundle: Bundle, decoders: DecodePool, tmp_path: Path
) -> None:
    """Through ingest, decoder processes, gate and network; reasons are counted, and what was measured is audited."""
    expected, ids = {}, {}
    for name, (state, reason, film) in made_films().items():
        film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = derived_uid(name)
        received = store_file(save(film, tmp_path / "film.dcm"), spool, "XRAYQ")
        ids[name], expected[name] = ingest(database, spool, received)[1], (state, reason)
    Scoring(
        database=database,
        spool=spool,
        serving=Serving(default=bundle.path, open_engine=lambda found: OrtEngine(found, threads=1), policy=Policy()),
        decoders=decoders,
        retry=RetryOptions(max_attempts=3, retry_seconds=0.1, lease_seconds=30),
    ).run(dict.fromkeys(ids.values(), 0))
    ends = {view.id: (view.state, view.reason) for view in list_instances(database)}
    assert {name: ends[ids[name]] for name in ids} == expected
    assert {(state, reason): count for state, reason, count in count_by_reason(database)} == Counter(expected.values())
    odd = last_detail(database, ids["chest with odd parts"])
    assert odd["display"] == ["aspect_unusable", "shutter_unusable", "voi_lut_unusable"]
    told = shown_in_words(database_url, tmp_path, ids["chest with odd parts"])
    assert all(f"shown with {code}: {NOTES[code]}" in told for code in odd["display"])
    assert "display" not in last_detail(database, ids["chest"])
    detail = last_detail(database, ids["upside down"])
    assert detail["reason"] == "rotated"
    assert detail["measured"]["rotated"] >= bundle.gate["thresholds"]["rotated"]  # type: ignore[index]
    assert all(isinstance(value, int | float) for value in detail["measured"].values())
    assert "the gate measured: " in shown_in_words(database_url, tmp_path, ids["upside down"])


@pytest.fixture(scope="module")
def splits(bundle: Bundle, real_films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Films]:
    folder = tmp_path_factory.mktemp("films") / "all"
    prepare([real_films], folder, spec=bundle.preprocess, read=read_image, views=())
    return load_dataset(folder, views=()).splits


@pytest.fixture(scope="module")
def gate(bundle: Bundle) -> Gate:
    return open_gate(bundle, Policy())


def verdicts(gate: Gate, images: NDArray[np.uint8], view: str = "PA") -> list[Verdict]:
    facts = Facts(modality="DX", body_part="CHEST", views=(view,) if view else (), age_years=50)
    return [gate.judge(facts, FINE, np.ascontiguousarray(image[0])) for image in images]


def refused(found: list[Verdict], reason: str | None = None) -> float:
    return sum(one.reason == reason if reason else one.reason is not None for one in found) / len(found)


def test_at_most_two_percent_of_the_eligible_validation_films_are_refused(
    gate: Gate, splits: dict[str, Films], real_films: Path
) -> None:
    """By quality and pixels together, quality being measured on the films as they are."""
    films = splits["val"].where(lambda film: film.view == "PA")
    facts = Facts(modality="DX", body_part="CHEST", views=("PA",), age_years=50)
    found = []
    for identifier, image in zip(films.identifiers, films.images, strict=True):
        raw = read_image(real_films / "images" / f"{identifier}.jpg")
        rows, columns = raw.pixels.shape
        quality = measure(raw.pixels, low=raw.low, high=raw.high, inverted=raw.inverted, rows=rows, columns=columns)
        found.append(gate.judge(facts, quality, image[0]))
    assert len(found) == 189
    assert refused(found) <= 0.02


def test_flipped_tags_are_caught_as_often_as_the_manifest_says(
    bundle: Bundle, gate: Gate, splits: dict[str, Films]
) -> None:
    """AP films called PA, and called nothing; PA films called AP, and called nothing."""
    test = splits["test"]
    ap, pa = (test.where(lambda film, view=view: film.view == view).images for view in ("AP", "PA"))  # type: ignore[misc]
    measured = bundle.gate["metrics"]["test"]  # type: ignore[index]
    assert refused(verdicts(gate, ap)) == pytest.approx(measured["ap_tagged_pa_refused"]["value"], abs=0.03)
    assert refused(verdicts(gate, ap)) > 0.4
    assert refused(verdicts(gate, pa)) < 0.1
    assert refused(verdicts(gate, pa, "AP"), "view") == 1.0
    scored = measured["untagged_scored"]
    assert 1 - refused(verdicts(gate, ap, "")) == pytest.approx(scored["AP"]["value"], abs=0.03)
    assert 1 - refused(verdicts(gate, pa, "")) == pytest.approx(scored["PA"]["value"], abs=0.03)
    assert 1 - refused(verdicts(gate, pa, "")) > 0.6


def test_turned_and_inverted_test_films_get_their_reasons(gate: Gate, splits: dict[str, Films]) -> None:
    images = splits["test"].where(lambda film: film.view == "PA").images
    assert refused(verdicts(gate, 255 - images), "inverted") > 0.9
    for quarters in (1, 2, 3):
        assert refused(verdicts(gate, np.rot90(images, quarters, axes=(2, 3))), "rotated") > 0.9


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_photograph_is_no_chest_film(bundle: Bundle, gate: Gate, name: str) -> None:
    """Two of scikit-learn's; no photograph was learned from."""
    from model.data.raw_films import image_to_input

    folder = Path(pytest.importorskip("sklearn.datasets").__file__).parent / "images"
    image = image_to_input((folder / name).read_bytes(), name, bundle.preprocess)
    assert verdicts(gate, image[None, None])[0].reason == "not_a_chest_film"
