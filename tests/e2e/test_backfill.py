"""Two hundred films of past days are fetched from an Orthanc while live films come: how much longer those wait, and
what is here in the end where relay, gateway and PACS were killed meanwhile."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from dicom_gateway.encode import derived_uid
from tests.e2e.test_up import Up, push, service
from tests.orthanc import TITLE, Orthanc, orthanc
from tests.phantoms import chest_film, chest_pixels, save, write_film
from tests.services import child, free_port, kill, wait_until
from worker.db.session import reading
from worker.db.tables import instance

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

FILMS, LIVE = 200, 60
BLOCKS = 3
DAYS = 4
RATE = 60
DOUBLE, SLACK_SECONDS = 2.0, 1.0
"""What a busy machine adds to one of 60 films. Behind the films of a backfill a live one would wait for longer."""


@dataclass(kw_only=True)
class Archive:
    """Orthanc, which can be killed and comes back with what it had."""

    folder: Path
    gateway: int
    dicom: int
    now: ExitStack

    def __enter__(self) -> "Archive":
        self.pacs = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self.now.close()

    def kill(self) -> None:
        kill(self.pacs.server.pid)
        self.now.close()
        self.pacs = self._started()

    def _started(self) -> Orthanc:
        return self.now.enter_context(orthanc(self.folder / "orthanc", self.gateway, dicom=self.dicom))

    def fill(self, pixels: Any) -> set[str]:
        """FILMS of DAYS days before today, two of each series."""
        uids = set()
        for number in range(FILMS):
            day = datetime.now(UTC).date() - timedelta(days=1 + number % DAYS)
            series = f"{number % DAYS} {number // (2 * DAYS)}"
            film = chest_film(
                f"old {number}",
                pixels=pixels,
                StudyDate=f"{day:%Y%m%d}",
                StudyTime="101500",
                StudyInstanceUID=derived_uid("study", series),
                SeriesInstanceUID=derived_uid("series", series),
            )
            film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
            self.pacs.post("/instances", save(film, self.folder / "old.dcm").read_bytes())
            uids.add(str(film.SOPInstanceUID))
        return uids


def live_films(up: Up, folder: Path, name: str, pixels: Any, number: int = LIVE) -> Iterator[float]:
    """One after the other, each when the one before is scored: seconds from received to scored."""
    for at in range(number):
        film = write_film(folder, f"{name} {at}", pixels=pixels)
        assert push(up, [film]) == [film]
        yield wait_until(lambda: _newest_live(up), 60, "a live film to be scored")


def _newest_live(up: Up) -> float | None:
    with reading(up.database) as connection:
        row = connection.execute(
            select(instance.c.state, instance.c.received_at, instance.c.finished_at)
            .where(~instance.c.backfilled)
            .order_by(instance.c.id.desc())
            .limit(1)
        ).one()
    return (row.finished_at - row.received_at).total_seconds() if row.state == "scored" else None


def killed_at(up: Up, archive: Archive, role: str) -> int:
    """Killed when ten more films are here than now; how many that were."""
    enough = min(FILMS, here(up) + 10)
    wait_until(lambda: here(up) >= enough, 120, "more films")
    at = here(up)
    if role == "archive":
        archive.kill()
    else:
        kill(wait_until(lambda: child(up.pid, role), 30, role))
    return at


def here(up: Up) -> int:
    with reading(up.database) as connection:
        query = select(func.count()).select_from(instance).where(instance.c.backfilled)
        return int(connection.execute(query).scalar_one())


def test_two_hundred_films_come_once_and_live_films_hardly_wait(tmp_path: Path) -> None:
    pixels, dicom = chest_pixels(), free_port()
    settings = {"ask_pacs": f"{TITLE}@127.0.0.1:{dicom}", "report_time": ""}
    with (
        service(tmp_path, **settings) as up,
        Archive(folder=tmp_path, gateway=up.port, dicom=dicom, now=ExitStack()) as archive,
    ):
        wanted = archive.fill(pixels)
        list(live_films(up, tmp_path, "warm", pixels, 5))
        first, last = (datetime.now(UTC).date() - timedelta(days=days) for days in (DAYS + 1, 1))
        said(up, "start", "--from", f"{first}", "--to", f"{last}", "--rate", str(RATE))
        alone, beside, came = [], [], 0
        for block in range(BLOCKS):  # by turns: whatever else the machine does meets both alike
            said(up, "pause")
            wait_until(lambda: not up.states()["received"] and not status(up)["on_the_way"], 60, "what was asked for")
            alone += live_films(up, tmp_path, f"alone {block}", pixels, LIVE // BLOCKS)
            said(up, "resume")
            before = here(up)
            beside += live_films(up, tmp_path, f"beside {block}", pixels, LIVE // BLOCKS)
            came += here(up) - before

        killed = {role: killed_at(up, archive, role) for role in ("relay", "archive", "gateway")}
        found = wait_until(lambda: status(up)["ended_at"] and status(up), 400, "the end of the backfill")
        wait_until(lambda: up.states()["scored"] == FILMS + 5 + 2 * LIVE, 200, "every film to be scored")
        views = up.instances()
    old = [view.sop_instance_uid for view in views if view.sop_instance_uid in wanted]
    assert len(old) == len(set(old)) == FILMS, "none twice, none lost"
    assert (found["state"], found["failed"], found["here"]) == ("done", {}, FILMS)
    p95 = [float(np.percentile(seconds, 95)) for seconds in (alone, beside)]
    p50 = [float(np.percentile(seconds, 50)) for seconds in (alone, beside)]
    print(
        f"\nlive films alone: p50 {p50[0]:.2f} s, p95 {p95[0]:.2f} s; beside a backfill, of which {came} came: "
        f"p50 {p50[1]:.2f} s, p95 {p95[1]:.2f} s: {p95[1] / p95[0]:.2f} times"
    )
    print(f"killed when so many were here: {killed}; {FILMS} films, each once")
    assert came, "else nothing was beside them"
    assert p95[1] <= DOUBLE * p95[0] + SLACK_SECONDS


def said(up: Up, *words: str) -> str:
    code, out, err = up.run("backfill", *words)
    assert code == 0, err
    return out


def status(up: Up) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(up, "status", "--json"))[0]
    return found
