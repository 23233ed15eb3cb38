"""The same SOP Instance UID again, sent by C-STORE to a running `xrayq up`: what is a duplicate, and what is not."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from dicom_gateway.encode import in_syntax, save
from tests.e2e.test_up import Up, push, service
from tests.phantoms import chest_film, chest_pixels
from tests.services import wait_until
from worker.instances import InstanceView

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOSSLESS = [row for row in TRANSFER_SYNTAXES if not row.lossy and row.uid != uid.ExplicitVRLittleEndian]
LOSSY = [row for row in TRANSFER_SYNTAXES if row.lossy]
CHANGES: dict[str, Any] = {
    "PatientID": "PID-SECRET-2",
    "IssuerOfPatientID": "ISSUER-SECRET",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.5",
    "AccessionNumber": "ACC-SECRET-2",
    "Laterality": "L",
    "ImageLaterality": "R",
}
PIXELS = chest_pixels(320, 300)
PRIVATE = (b"PID-SECRET", b"ACC-SECRET", b"ISSUER-SECRET", b"Secret^Person", b"Married^Person", b"SECRET")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with service(tmp_path_factory.mktemp("up")) as running:
        yield running


def film(name: str, **attributes: Any) -> Dataset:
    return chest_film(name, **({"pixels": PIXELS, "WindowCenter": 2000, "WindowWidth": 3500} | attributes))


def coded(source: Dataset, syntax: str) -> Dataset:
    """With the UID and the stored bits of its source."""
    other = in_syntax(source, syntax)
    other.SOPInstanceUID = source.SOPInstanceUID
    return other


def sent(up: Up, folder: Path, *films: Dataset) -> None:
    paths = [save(one, folder / f"{number}.dcm") for number, one in enumerate(films)]
    assert len(push(up, paths)) == len(films)


def revisions(up: Up, name: str, number: int) -> list[InstanceView]:
    """When each of them is scored."""
    of = str(chest_film(name).SOPInstanceUID)

    def scored() -> list[InstanceView]:
        found = [one for one in up.instances() if one.sop_instance_uid == of]
        return found if len(found) >= number and all(one.state == "scored" for one in found) else []

    found = wait_until(scored, 60, f"{number} scored revisions of {name}")
    assert [one.revision for one in found] == list(range(1, number + 1))
    return found


def actions(up: Up, view: InstanceView) -> list[str]:
    shown = json.loads(up.run("instance", "show", str(view.id), "--json")[1])
    return [event["action"] for event in shown[0]["history"]]


def test_the_same_film_twice_is_scored_once(up: Up, tmp_path: Path) -> None:
    sent(up, tmp_path, film("twice"), film("twice"), film("twice", PatientName="Married^Person"))
    (one,) = revisions(up, "twice", 1)
    assert sorted(actions(up, one)) == ["duplicate", "duplicate", "received", "scored"]


@pytest.mark.parametrize("keyword", CHANGES)
def test_another_identity_is_kept_and_scored(up: Up, tmp_path: Path, keyword: str) -> None:
    sent(up, tmp_path, film(keyword), film(keyword, **{keyword: CHANGES[keyword]}))
    first, second = revisions(up, keyword, 2)
    assert (first.identity_changed, second.identity_changed) == (None, [keyword])
    assert first.replaced_by == second.id
    assert first.probabilities == second.probabilities


def test_a_lossless_coding_is_the_same_film(up: Up, tmp_path: Path) -> None:
    first = film("lossless")
    sent(up, tmp_path, first, *(coded(first, row.uid) for row in LOSSLESS))
    (one,) = revisions(up, "lossless", 1)
    assert actions(up, one).count("duplicate") == len(LOSSLESS)


def test_a_lossless_coding_with_another_pixel_or_patient_is_not(up: Up, tmp_path: Path) -> None:
    pixels = PIXELS.copy()
    pixels[10, 10] ^= 1
    first, pixel, patient = film("pixel"), film("pixel", pixels=pixels), film("pixel", pixels=pixels, PatientID="P2")
    sent(up, tmp_path, first, coded(pixel, uid.JPEGLSLossless), coded(patient, uid.JPEG2000Lossless))
    assert [one.identity_changed for one in revisions(up, "pixel", 3)] == [None, [], ["PatientID"]]


def test_a_lossy_coding_is_another_picture(up: Up, tmp_path: Path) -> None:
    first = film("lossy")
    sent(up, tmp_path, first, *(coded(first, row.uid) for row in LOSSY))
    found = revisions(up, "lossy", 1 + len(LOSSY))
    assert [one.identity_changed for one in found] == [None, *[[]] * len(LOSSY)]


def test_a_film_of_no_study_is_kept_and_waits_for_a_person(up: Up, tmp_path: Path) -> None:
    sent(up, tmp_path, film("no study", StudyInstanceUID=None), film("no series", SeriesInstanceUID="series"))
    wait_until(lambda: up.states()["failed"] == 2, 60, "both to end")
    assert {one.reason for one in up.instances() if one.state == "failed"} == {"study_missing"}


def test_no_name_and_no_number_is_kept(up: Up, tmp_path: Path) -> None:
    """Last: in the database's files, the report of the day and what the commands print. The log is looked at by
    `service`."""
    today = datetime.now(UTC).date().isoformat()
    assert up.run("audit", "report", "--date", today, "--out", str(tmp_path))[0] == 0
    report = json.loads((tmp_path / "report.json").read_text())
    changed = [one["identity_changed"] for one in report["identity_changed"]]
    assert {tuple(one) for one in changed} == {(one,) for one in CHANGES}
    assert len(changed) == len(CHANGES) + 1
    assert all(one["earlier"] for one in report["identity_changed"])
    files = [path for path in (*up.home.glob("xrayq.db*"), *tmp_path.iterdir()) if path.is_file()]
    assert {"xrayq.db", "report.json", "report.html", "instances.csv"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert [one for one in PRIVATE if one in content] == [], path.name
    listed = up.run("instance", "list")[1]
    assert "changed: Patient ID" in " ".join(listed.split())
    assert "SECRET" not in listed.upper()
