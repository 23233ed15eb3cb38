"""What others read of us stays the same to the byte, order of keys included: the night's report, the JSON of commands.

The installation is that of `tests.published`; its documents lie in tests/golden/installation, and are the same on both
databases. A change that is meant is written anew, and then looked at like any other:

    RECORD_GOLDEN=1 python -m pytest tests/integration/test_published_json.py && git diff tests/golden
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from model.bundle import SHIPPED
from tests import golden
from tests.nightly import both_in_ci
from tests.published import NOW, break_trail, fill
from tests.services import Xrayq, free_port, typed_in
from tests.still import FREE, clock_of, disks, no_pictures
from worker.db.session import identity
from worker.health.server import Answer, Endpoint, Shown
from worker.nightly import published as made

PICTURE = re.compile(r'src="data:image/[^"]+"')
STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
READY = {"check": "database", "ok": True, "text": "answers, schema is up to date"}
NEEDED = {"check": "broker", "ok": False, "text": "no Redis answers", "needed": True}
LABELS = """sop_instance_uid,label,reader,read_on
1.2.826.0.1.3680043.10.1.9999,normal,reader3,2026-11-20
"""
BESIDE = {"check": "mail", "ok": False, "text": "2 mails wait", "needed": False}


@contextmanager
def answering(role: str, installation: str, *checks: dict[str, object]) -> Iterator[str]:
    """A process that always says the same on /readyz, at the port that it yields."""
    body = json.dumps({"role": role, "installation": installation, "ok": True, "checks": checks}).encode()
    endpoint = Endpoint("127.0.0.1", 0, {"/readyz": Shown(page=lambda: Answer(status=200, content_type="", body=body))})
    endpoint.start()
    try:
        yield str(endpoint.port)
    finally:
        endpoint.shutdown()
        endpoint.server_close()


def commands(again: int) -> dict[str, str]:
    """Every command whose JSON others read, by the name of its file.

    Args:
        again: id of a film that came again.
    """
    return {
        "status": "status",
        "doctor": "doctor",
        "alarm-list": "alarm list --all",
        "alarm-rules": "alarm rules",
        "audit-reports": "audit reports",
        "audit-verify": "audit verify",
        "bundle-compare": "bundle compare",
        "bundle-list": "bundle list",
        "bundle-show": "bundle show",
        "bundle-status": "bundle status",
        "drift-references": "drift references",
        "drift-show": "drift show",
        "health": "health relay",
        "instance-list": "instance list --limit 12",
        "instance-reasons": "instance reasons",
        "instance-show": f"instance show 1.2.826.0.1.3680043.10.1.{again}",
        "labels-import": "labels import labels.csv",
        "labels-performance": "labels performance",
        "labels-sample": "labels sample --draw november",
    }


BROKEN = {"broken-audit-verify": "audit verify", "broken-report-today": "audit report --date today --out today"}
"""The same with a broken audit trail; and a day that is not over."""


def printed(xrayq: Xrayq, typed: dict[str, str]) -> dict[str, str]:
    found = {f"{name}.json": xrayq(*words.split(), "--json")[1] for name, words in typed.items()}
    assert all(found.values()), [name for name in found if not found[name]]
    return found


def night(xrayq: Xrayq, folder: Path) -> dict[str, str]:
    """The files of the night's report; of the page what `tests/golden` shall not hold is taken out."""
    _, told, _ = xrayq("audit", "report", "--date", "yesterday", "--out", str(folder), "--json")
    found = {name: (folder / name).read_bytes().decode() for name in made.FILES}
    assert told == found[made.REPORT]
    page, pictures = PICTURE.subn('src="picture"', found[made.PAGE])
    assert pictures > 3
    found[made.PAGE] = STYLE.sub("<style></style>", page)
    return {f"night-{name}": text for name, text in found.items()}


@both_in_ci
def test_an_installation_publishes_what_it_published(
    database: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disks(monkeypatch)
    no_pictures(monkeypatch)
    monkeypatch.setenv("LOGNAME", "alex")
    home, ours, port = tmp_path / "home", identity(database_url), free_port()
    settings = {
        "database_url": database_url,
        "home": str(home),
        "port": str(port),
        "site": "St. Example",
        "time_zone": "Europe/Berlin",
        "drift_reference_films": "100",
        "drift_least_films": "20",
        "worker_http_port": "0",
    }
    with (
        clock_of(database, NOW) as clock,
        answering("gateway", ours, READY) as gateway,
        answering("relay", ours, READY, NEEDED, BESIDE) as relay,
        typed_in(tmp_path, gateway_http_port=gateway, relay_http_port=relay, **settings) as xrayq,
    ):
        again = fill(database, clock, home / "spool")
        (home / "reports").mkdir()
        (tmp_path / "labels.csv").write_text(LABELS, encoding="utf-8")
        documents = printed(xrayq, commands(again)) | night(xrayq, tmp_path / "night")
        break_trail(database)
        documents |= printed(xrayq, BROKEN)
    assert json.loads(documents["status.json"])["spool"]["free"] == FREE
    ours_alone = {str(SHIPPED): "SHIPPED", str(tmp_path): "FOLDER", f":{port}": ":PORT", f"port {port}": "port PORT"}
    for name in documents:
        for text, word in ours_alone.items():
            documents[name] = documents[name].replace(text, word)
    golden.check("installation", documents)
