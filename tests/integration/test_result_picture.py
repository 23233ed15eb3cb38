"""From a film's file to the picture of its result: decoder, network, map and object together."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread

from dicom_gateway.capture_frames import DrawnMap, frames_of
from dicom_gateway.encode import save
from dicom_gateway.picture import picture_of
from dicom_gateway.pixels import read_radiograph
from dicom_gateway.secondary_capture import secondary_capture
from dicom_gateway.time_zone import in_zone_of
from model.activation_map import ActivationMaps
from model.bundle import REFERENCE, load
from model.findings import NOT_NORMAL
from model.heat import COLOURS, overlay, placed
from model.preprocess import to_input
from tests.services import tool
from tests.unit.gateway.captures import result_of
from worker.demo import sample_path


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_real_film_becomes_a_picture_with_its_map(precision: str, tmp_path: Path) -> None:
    path, bundle = sample_path("RG1_UNCR.dcm"), load(REFERENCE)
    film = read_radiograph(path)
    picture = picture_of(film)
    image = to_input(film.pixels, low=film.low, high=film.high, inverted=film.inverted, spec=bundle.preprocess)
    (maps,) = ActivationMaps(bundle, threads=1, precision=precision).of(image[None, None])
    evidence = maps.evidence(NOT_NORMAL)
    heat = placed(evidence, maps.lattice, *picture.shape)
    drawn = DrawnMap(finding="not normal", pixels=overlay(picture, heat), colours=COLOURS, most=float(evidence.max()))
    result = result_of(dcmread(path, stop_before_pixels=True))
    written, shown = save(secondary_capture(result, picture, drawn), tmp_path / "capture.dcm"), tmp_path / "shown.ppm"
    frames = []
    for frame in ("1", "2"):
        subprocess.run([tool("dcm2pnm"), "+op", "+F", frame, str(written), str(shown)], check=True, timeout=60)
        frames.append(cv2.cvtColor(cv2.imread(str(shown)), cv2.COLOR_BGR2RGB))
    place = frames_of(result, picture, drawn, in_zone_of(result.film, result.at)).film
    plain, coloured = (frame[place] for frame in frames)
    assert (plain == picture[:, :, None]).all()
    assert (coloured == drawn.pixels).all()
    strong = np.nan_to_num(heat) > 0.5 * evidence.max()
    assert strong.mean() > 0.01
    assert (coloured != plain).any(axis=2)[strong].all()
    assert (coloured == plain).all(axis=2)[np.isnan(heat)].mean() > 0.98, "all but the grey line"
