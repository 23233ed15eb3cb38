"""What is pushed by web is received as by C-STORE: the same promises, refusals and rows."""

from pathlib import Path

import httpx
from pydicom.filereader import dcmread
from sqlalchemy import Engine, select

from tests.integration.http_push.conftest import SHOWN, Site
from tests.phantoms import write_film
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
