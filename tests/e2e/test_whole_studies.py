"""A PACS sends whole studies: Orthanc and DCMTK push films with their dose reports to a real `xrayq up`."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset, FileMetaDataset

from dicom_gateway.encode import derived_uid, save
from dicom_gateway.scu import send
from tests.e2e.test_up import Up, service
from tests.orthanc import orthanc
from tests.phantoms import chest_film, chest_pixels
from tests.services import Memory, child, kill, tool, wait_until

pytestmark = pytest.mark.e2e

STUDIES = 6


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with service(tmp_path_factory.mktemp("studies"), study_seconds="2") as running:
        yield running


def write_studies(folder: Path, name: str) -> Path:
    """STUDIES folders, each with a CR film and a dose report of its study."""
    pixels = chest_pixels()
    for number in range(STUDIES):
        place = folder / name / str(number)
        place.mkdir(parents=True)
        film = chest_film(
            f"{name} {number}", pixels=pixels, SOPClassUID=uid.ComputedRadiographyImageStorage, Modality="CR"
        )
        film.StudyInstanceUID = derived_uid("study", name, str(number))
        film.PatientID = f"SECRET-{number}"
        film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
        save(film, place / "film.dcm")
        save(dose_report(film), place / "dose.dcm")
    return folder / name


def dose_report(film: Dataset) -> Dataset:
    report = Dataset()
    report.SOPClassUID, report.Modality = uid.XRayRadiationDoseSRStorage, "SR"
    report.SOPInstanceUID, report.SeriesInstanceUID = (derived_uid(one, film.SOPInstanceUID) for one in ("dose", "sr"))
    report.StudyInstanceUID = film.StudyInstanceUID
    report.PatientName, report.PatientID = film.PatientName, film.PatientID
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return report


def ends(up: Up, calling_ae: str) -> Counter[str]:
    """Instances of a sender by state and reason."""
    return Counter(f"{one.state} {one.reason or ''}".strip() for one in up.instances() if one.calling_ae == calling_ae)


def assert_films_scored_and_reports_told(up: Up, calling_ae: str) -> None:
    wanted = Counter({"scored": STUDIES, "ineligible not_a_film": STUDIES})
    wait_until(lambda: ends(up, calling_ae) == wanted, 60, f"{wanted}, have {ends(up, calling_ae)}")


def test_orthanc_pushes_six_studies(up: Up, tmp_path: Path) -> None:
    with orthanc(tmp_path / "orthanc", up.port) as pacs:
        for path in sorted(write_studies(tmp_path, "orthanc-studies").rglob("*.dcm")):
            pacs.post("/instances", path.read_bytes())
        studies = pacs.get("/studies")
        assert len(studies) == STUDIES
        answer = pacs.post("/modalities/xrayq/store", json.dumps(studies).encode())
        assert (answer["InstancesCount"], answer["FailedInstancesCount"]) == (2 * STUDIES, 0)
        assert_films_scored_and_reports_told(up, "ORTHANC")
        pacs.post("/modalities/xrayq/store", json.dumps(studies).encode())
    assert_films_scored_and_reports_told(up, "ORTHANC")  # the same again is no new work


@pytest.mark.parametrize("program", ["dcmsend", "storescu"])
def test_dcmtk_pushes_six_studies(up: Up, tmp_path: Path, program: str) -> None:
    folder = write_studies(tmp_path, f"{program}-studies")
    scan = ["--scan-directories", "--recurse"]
    command = [tool(program), *scan, "-aet", program.upper(), "127.0.0.1", str(up.port), str(folder)]
    sent = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert sent.returncode == 0, sent.stderr
    assert_films_scored_and_reports_told(up, program.upper())


def push(up: Up, files: list[Path]) -> None:
    sent = send("127.0.0.1", up.port, files, called_ae="XRAYQ", calling_ae="CR7")
    assert [one.status for one in sent] == [0] * len(files)


def outcome_of(up: Up, film: Dataset) -> dict[str, Any]:
    """What `xrayq outcome show` says of its study."""
    code, out, problems = up.run("outcome", "show", film.StudyInstanceUID, "--json")
    assert code == 0, problems
    return dict(json.loads(out))


@pytest.mark.slow
def test_a_study_has_one_outcome_and_a_repeat_changes_it_although_the_relay_is_killed(up: Up, tmp_path: Path) -> None:
    folder = write_studies(tmp_path, "outcomes")
    push(up, sorted(folder.rglob("*.dcm")))
    films = [dcmread(path) for path in sorted(folder.rglob("film.dcm"))]
    wait_until(lambda: all(outcome_of(up, film)["complete_at"] for film in films), 60, "complete studies")
    for film in films:
        study = outcome_of(up, film)
        assert (study["version"], study["films"], study["other_objects"], study["senders"]) == (1, 1, 1, ["CR7"])
        assert study["outcome"] in ("flagged", "no_flag", "unsure")
    repeated = films[0]
    repeated.SOPInstanceUID = repeated.file_meta.MediaStorageSOPInstanceUID = derived_uid("repeat")
    kill(wait_until(lambda: child(up.pid, "relay"), 20))
    push(up, [save(repeated, tmp_path / "repeat.dcm")])
    wait_until(lambda: outcome_of(up, repeated)["version"] == 2, 60, "the repeat's outcome")
    study = outcome_of(up, repeated)
    assert [film["part"] for film in study["film_list"]] == [
        "scored, not used",
        "used: of the scored films the one received last",
    ]
    assert study["film_list"][1]["id"] == study["used_instance_id"]


def test_the_ledger_holds_no_bytes_of_them_and_no_name(up: Up) -> None:
    others = [one for one in up.instances() if one.reason == "not_a_film"]
    assert others
    assert {one.in_spool for one in others} == {False}
    kept = {path.stem for path in (up.home / "spool").rglob("*.dcm")}
    assert not kept & {one.digest for one in others}
    code, out, _ = up.run("audit", "report", "--date", "today", "--json", "--out", str(up.home / "night"))
    assert code == 0
    content = json.loads(out)
    assert content["difference"] == 0
    assert "SECRET" not in out.upper()


@pytest.mark.slow
def test_a_ct_study_passes_in_flat_memory(up: Up) -> None:
    """`python -m tests.benchmarks studies` sends 2,000 slices, beside films."""
    gateway = child(up.pid, "gateway")
    assert gateway
    with Memory(gateway) as memory:
        command = [sys.executable, "-m", "tests.benchmarks.slices", str(up.port), "80"]
        subprocess.run(command, check=True, timeout=120, capture_output=True, cwd=Path(__file__).parents[2])
    assert ends(up, "CT1") == {"ineligible not_a_film": 80}
    assert memory.growth < 16  # MiB; what came is 40
