"""The picture of a result: decoded in a child, with the map of the bundle that scored the film."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_gateway.picture import picture_of
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.result import FilmResult
from model.bundle import REFERENCE, Bundle, load
from model.errors import BundleError
from tests.phantoms import write_film
from tests.unit.gateway.captures import result_of
from worker.bundles.networks import precision_of
from worker.errors import Undelivered
from worker.reporting import faults
from worker.reporting.objects import maker
from worker.reporting.pictures import Pictures

MEMORY, PIXELS = 2 << 30, 20_000_000


@pytest.fixture
def bundle() -> Bundle:
    return load(REFERENCE)


def find_in(bundle: Bundle, digest: str) -> Bundle:
    if digest != bundle.digest:
        raise BundleError("not here")
    return bundle


@pytest.fixture
def pictures(bundle: Bundle) -> Iterator[Pictures]:
    made = Pictures(lambda digest: find_in(bundle, digest), memory_bytes=MEMORY, max_pixels=PIXELS, seconds=60)
    yield made
    made.close()


def scored(film: Path, bundle: Bundle, engine: str = "onnxruntime-1.20-int8") -> FilmResult:
    """A result with flags, of the film."""
    result = result_of(dcmread(film, stop_before_pixels=True))
    return replace(result, algorithm=replace(result.algorithm, bundle_digest=bundle.digest, engine=engine))


def test_the_film_and_its_map(pictures: Pictures, bundle: Bundle, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    result = scored(film, bundle)
    picture, drawn = pictures(result, film)
    assert np.array_equal(picture, picture_of(read_radiograph(film)))
    assert drawn
    assert drawn.pixels.shape == (*picture.shape, 3)
    assert drawn.finding in {found.name for found in result.findings if found.flag}
    again, other = pictures(result, film)
    assert np.array_equal(picture, again)
    assert other
    assert np.array_equal(drawn.pixels, other.pixels), "the same bytes whenever it is sent"


def test_no_flag_no_map(pictures: Pictures, bundle: Bundle, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    result = scored(film, bundle)
    plain = replace(result, findings=tuple(replace(found, flag=False) for found in result.findings))
    assert pictures(plain, film)[1] is None


@pytest.mark.parametrize("broken", ["bundle", "film"])
def test_what_is_not_there_now_waits(broken: str, pictures: Pictures, bundle: Bundle, tmp_path: Path) -> None:
    film = write_film(tmp_path)
    result = scored(film, bundle)
    if broken == "bundle":
        result = replace(result, algorithm=replace(result.algorithm, bundle_digest="0" * 64))
    else:
        film.write_bytes(film.read_bytes()[:-5000])
    with pytest.raises(Undelivered) as raised:
        pictures(result, film)
    assert str(raised.value) == (faults.NO_BUNDLE if broken == "bundle" else faults.NO_PICTURE)


@pytest.mark.parametrize(
    ("engine", "precision"),
    [("onnxruntime-1.20.1-int8", "int8"), ("onnxruntime-1.20.1-fp32", "fp32"), ("tensorrt-11.4-fp16", "fp32")],
)
def test_whose_file_explains_a_score(engine: str, precision: str) -> None:
    assert precision_of(engine) == precision


def test_a_pacs_that_takes_no_pictures_is_sent_reports_alone(
    pictures: Pictures, bundle: Bundle, tmp_path: Path
) -> None:
    film = write_film(tmp_path)
    result = scored(film, bundle)
    both, alone = maker(pictures)(result, film, picture=True), maker(None)(result, film, picture=True)
    assert [made.Modality for made in both] == ["SR", "OT"]
    assert [made.SOPInstanceUID for made in alone] == [both[0].SOPInstanceUID]
