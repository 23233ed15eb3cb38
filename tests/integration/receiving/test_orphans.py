"""Committed films that the database lost: the spool has them, the night and doctor tell, and submit receives them."""

import json
import os
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from dicom_gateway.local import store_file
from dicom_gateway.spool import Spool
from tests import days
from tests.integration.audit.test_reconciliation import sent
from tests.phantoms import write_film
from tests.services import typed_in
from worker.alarms import night_rules
from worker.audit import trail
from worker.db import schema
from worker.db.session import make_engine, reading
from worker.db.tables import instance
from worker.nightly.content import NightOptions, night_report
from worker.nightly.headline import faults
from worker.nightly.page.page import render
from worker.receiving import orphans
from worker.receiving.ingest import ingest


def settled(*films: Path) -> None:
    """Their last byte came longer ago than a commit may take."""
    for film in films:
        os.utime(film, (time.time() - orphans.SETTLED_SECONDS - 1,) * 2)


def test_films_of_the_spool_without_an_instance(database: Engine, spool: Spool, tmp_path: Path) -> None:
    kept, lost, young = (store_file(write_film(tmp_path, name), spool, "XRAYQ") for name in ("a", "b", "c"))
    ingest(database, spool, kept)
    settled(kept.path, lost.path)
    (spool.root / "00" / "notes.dcm").write_text("no film's name")
    settled(spool.root / "00" / "notes.dcm")
    assert orphans.orphans(database, spool.root) == [lost.digest]
    settled(young.path)
    assert orphans.orphans(database, spool.root) == sorted([lost.digest, young.digest])
    assert orphans.orphans(database, tmp_path) is None  # no spool


def test_the_night_tells_of_them_by_the_beginning_of_their_digests(
    database: Engine, spool: Spool, tmp_path: Path
) -> None:
    options = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT, spool=spool.root)
    today = datetime.now(UTC).date()
    sent(database, spool, tmp_path, "film")
    assert night_report(database, today, options).orphans == ()
    lost = store_file(write_film(tmp_path, "lost"), spool, "XRAYQ")
    settled(lost.path)
    report = night_report(database, today, options)
    assert report.orphans == (lost.digest[:12],)
    assert [condition.rule for condition in report.conditions] == ["orphans"]
    assert faults(report) == [f"{orphans.in_words([lost.digest])}."]
    page = render(report).html
    assert "1 film of the spool not in the database" in page
    assert lost.digest[:12] in page
    assert lost.digest not in page + json.dumps(report.as_dict())
    elsewhere = night_report(database, today, replace(options, spool=tmp_path))
    assert elsewhere.orphans is None
    assert "orphans" not in night_rules.looked_at(elsewhere.facts)


def test_films_lost_by_a_restored_backup_are_received_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    spool, file = Spool(home / "spool", reserve_bytes=1 << 20), home / "xrayq.db"
    spool.prepare()
    engine = make_engine(f"sqlite:///{file}")
    schema.upgrade(engine)
    sent(engine, spool, tmp_path, "before")
    engine.dispose()
    shutil.copy(file, tmp_path / "backup")
    digests = set()
    for name in ("one", "two", "three"):
        received = store_file(write_film(tmp_path, name), spool, "XRAYQ")
        ingest(engine, spool, received)
        settled(received.path)
        digests.add(received.digest)
    engine.dispose()
    for left in home.glob("xrayq.db*"):
        left.unlink()
    shutil.copy(tmp_path / "backup", file)
    assert trail.verify(engine).whole  # the database alone proves nothing
    with typed_in(tmp_path, home=str(home), spool_reserve_mib="1") as xrayq:
        checks = {one["check"]: one for one in json.loads(xrayq("doctor", "--json")[1])}
        assert not checks["orphans"]["ok"]
        assert "3 films of the spool are not in the database" in checks["orphans"]["text"]
        assert "'xrayq submit --orphans'" in checks["orphans"]["text"]
        code, out, _ = xrayq("submit", "--orphans")
        assert (code, out.splitlines()[-1]) == (0, "3 of 3 taken")
        assert xrayq("submit", "--orphans")[:2] == (0, "0 of 0 taken\n")
        assert {one["check"]: one["ok"] for one in json.loads(xrayq("doctor", "--json")[1])}["orphans"]
    with reading(engine) as connection:
        assert digests < set(connection.execute(select(instance.c.digest)).scalars())
    engine.dispose()


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "a folder that is no spool"])
def test_doctor_calls_nothing_well_that_it_cannot_see(tmp_path: Path, made: bool) -> None:
    """As where the disk of the spool is not mounted."""
    if made:
        (tmp_path / "spool").mkdir()
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        xrayq("db", "upgrade")
        checks = {one["check"]: one for one in json.loads(xrayq("doctor", "--json")[1])}
    assert (checks["spool"]["ok"], checks["orphans"]["ok"]) == (False, False)
    assert "is not there: the gateway makes it when it starts" in checks["spool"]["text"]
    assert checks["orphans"]["text"].startswith("not known: ")


@pytest.mark.parametrize("words", [(), ("film.dcm", "--orphans")], ids=["neither", "both"])
def test_submit_takes_paths_or_orphans(words: tuple[str, ...], tmp_path: Path) -> None:
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        code, _, err = xrayq("submit", *words)
    assert code == 2
    assert "give files or folders, or --orphans" in err
