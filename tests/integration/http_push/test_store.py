"""What is pushed by web is received as by C-STORE: the same promises, refusals and rows."""

from collections.abc import Callable
from pathlib import Path

import httpx
import requests
from dicomweb_client import DICOMwebClient
from pydicom import uid
from pydicom.filereader import dcmread
from sqlalchemy import Engine, select

from dicom_gateway.encode import save
from dicom_gateway.errors import (
    ClassNotServed,
    InstanceMismatch,
    Malformed,
    NoSpace,
    StoreUnavailable,
    StudyMismatch,
    Truncated,
)
from dicom_gateway.spool import Spool
from tests.integration.http_push.conftest import SHOWN, Site
from tests.phantoms import chest_film, write_film
from tests.stow import RELATED, outcomes, payload
from worker.db.session import reading
from worker.db.tables import audit_event, instance


def push(site: Site, content: bytes, study: str = "", **headers: str) -> httpx.Response:
    shown = {"Content-Type": RELATED} | SHOWN | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{site.url}{study}", content=content, headers=shown, timeout=30, trust_env=False)


def test_films_are_rows_with_the_name_of_their_token(site: Site, database: Engine, tmp_path: Path) -> None:
    films = [write_film(tmp_path, name) for name in ("a", "b")]
    uids = [dcmread(film).SOPInstanceUID for film in films]
    answer = push(site, payload(films))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom+json")
    assert outcomes(answer.json()) == {"kept": [(uid, 0) for uid in uids]}
    again = push(site, payload(films))
    assert (again.status_code, outcomes(again.json())) == (200, {"kept": [(uid, 0) for uid in uids]})
    with reading(database) as connection:
        rows = connection.execute(select(instance.c.calling_ae, instance.c.called_ae, instance.c.state)).all()
        actions = connection.execute(select(audit_event.c.action).order_by(audit_event.c.id)).scalars().all()
    assert rows == [("ROUTER", "XRAYQ", "received")] * 2
    assert actions == ["received", "received", "duplicate", "duplicate"]


def test_each_instance_is_answered_for_itself(site: Site, database: Engine, tmp_path: Path) -> None:
    film, other = write_film(tmp_path, "a"), write_film(tmp_path, "b")
    study = dcmread(film).StudyInstanceUID
    report = chest_film("report", PixelData=None, SOPClassUID=uid.BasicTextSRStorage, StudyInstanceUID=study)
    directory = chest_film("directory", SOPClassUID=uid.MediaStorageDirectoryStorage)
    mixed = payload([film, other, save(report, tmp_path / "report"), save(directory, tmp_path / "directory"), b"none"])
    answer = push(site, mixed, f"/{study}")
    assert answer.status_code == 202
    assert outcomes(answer.json()) == {
        "kept": [(dcmread(film).SOPInstanceUID, 0), (report.SOPInstanceUID, 0)],
        "failed": [
            (dcmread(other).SOPInstanceUID, StudyMismatch.status),
            (directory.SOPInstanceUID, ClassNotServed.status),
        ],
        "other": [("", Malformed.status)],
    }
    with reading(database) as connection:
        states = connection.execute(select(instance.c.state).order_by(instance.c.id)).scalars().all()
    assert states == ["received", "ineligible"]
    assert len(site.files()) == 1, "the film alone: what was refused left nothing"


def test_a_payload_cut_midway_is_answered_for_what_is_whole(site: Site, tmp_path: Path) -> None:
    films = [write_film(tmp_path, name) for name in ("a", "b")]
    whole, half = (dcmread(film).SOPInstanceUID for film in films)
    answer = push(site, payload(films)[: -films[1].stat().st_size // 2])
    assert answer.status_code == 202
    assert outcomes(answer.json()) == {"kept": [(whole, 0)], "failed": [(half, Truncated.status)]}
    assert len(site.files()) == 1


def test_without_a_database_nothing_is_promised(spool: Spool, start: Callable[..., Site], tmp_path: Path) -> None:
    def refuse(_arrived: object) -> None:
        raise StoreUnavailable

    answer = push(start(refuse), payload([write_film(tmp_path)]))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    ((_, status),) = outcomes(answer.json())["failed"]
    assert status == StoreUnavailable.status
    full = push(start(refuse, spool=Spool(spool.root, reserve_bytes=1 << 60)), payload([write_film(tmp_path)]))
    assert (full.status_code, outcomes(full.json())["failed"][0][1]) == (503, NoSpace.status)


def test_what_no_film_can_be_is_a_conflict(site: Site, tmp_path: Path) -> None:
    film = chest_film("a")
    named_otherwise = save(film, tmp_path / "a.dcm").read_bytes()
    at = named_otherwise.index(film.SOPInstanceUID.encode())
    altered = named_otherwise[:at] + named_otherwise[at:].replace(b"2.25", b"2.26", 1)
    answer = push(site, payload([altered]))
    assert (answer.status_code, outcomes(answer.json())["failed"][0][1]) == (409, InstanceMismatch.status)


def test_an_independent_client_and_a_chunked_one(site: Site, tmp_path: Path) -> None:
    films = [write_film(tmp_path, name) for name in ("a", "b")]
    session = requests.Session()
    session.trust_env = False
    session.headers.update(SHOWN)
    client = DICOMwebClient(site.url.removesuffix("/studies"), session=session)
    stored = client.store_instances([dcmread(film) for film in films])
    assert [item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence] == [
        dcmread(film).SOPInstanceUID for film in films
    ]
    content = payload(films)
    headers = {"Content-Type": RELATED.replace('"', "")} | SHOWN
    bytewise = (content[at : at + 997] for at in range(0, len(content), 997))
    answer = httpx.post(site.url, content=bytewise, headers=headers, timeout=60, trust_env=False)
    assert (answer.status_code, len(outcomes(answer.json())["kept"])) == (200, 2)
    assert len(site.files()) == 2, "each client writes file meta information of its own, and we keep ours"
