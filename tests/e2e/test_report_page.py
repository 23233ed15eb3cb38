"""The night's page as a browser shows it: a day with every fault, and a quiet one."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from dicom_gateway.spool import Spool
from tests import days
from tests.alarms import contexts_refused
from tests.browser import Browser, browser
from worker.alarms.deliver import GIVEN_UP
from worker.audit import trail
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.span import Span
from worker.db.tables import alarm, score
from worker.monitoring.drift_reference import freeze_missing
from worker.nightly.content import NightOptions
from worker.nightly.files import write_report
from worker.nightly.published import PAGE

DAY = date(2026, 11, 20)
ZONE = ZoneInfo("UTC")
SCREEN = {"width": 1366, "height": 768}
PRINTED = {"width": 688, "height": 1017}
"""A4 within its margins of 14 mm, at 96 dots an inch."""
LOOK = """(() => {
  const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  const seen = (e) => { const s = getComputedStyle(e); return s.display != "none" && s.visibility != "hidden"; };
  const number = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map(v => v / 255).map(
    v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) {
    const c = number(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c; }
    return [255, 255, 255]; };
  const contrast = (e) => { const [a, b] = [light(number(getComputedStyle(e).color)), light(ground(e))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); };
  const text = [...document.querySelectorAll("body *")].filter(
    e => seen(e) && [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()));
  const pictures = [...document.querySelectorAll("img, svg, canvas, object, [role=img]")];
  return {
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: wide.map(e => e.tagName + ": " + e.textContent.slice(0, 40)),
    cut: [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1).length,
    pictures: pictures.length,
    blind: pictures.filter(e => !(e.getAttribute("alt") || e.getAttribute("aria-label") || "").trim()).length,
    broken: [...document.images].filter(e => !e.complete || !e.naturalWidth).length,
    faint: text.filter(e => contrast(e) < 4.5).map(e => e.textContent.slice(0, 40)),
    dead_links: [...document.querySelectorAll("a")].filter(a => !document.querySelector(a.getAttribute("href"))).length,
    headings: [...document.querySelectorAll("h1, h2, h3")].map(e => e.tagName).join(" "),
    untitled: [...document.querySelectorAll("table")].filter(t => !t.caption || !t.tHead).length,
    bottom: Math.max(0, ...[...document.querySelectorAll(".verdict, .tile")].map(
      e => e.getBoundingClientRect().bottom)),
    running: (document.querySelector(".running") || {innerText: ""}).innerText,
    verdict: (document.querySelector(".verdict") || document.body).innerText,
  };
})()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By name, the page of a quiet day and of one with every fault."""
    folder = tmp_path_factory.mktemp("nights")
    return {
        "quiet": made(folder / "quiet"),
        "faults": made(folder / "faults", faults=True),
        "running": running(folder / "running"),
    }


def made(folder: Path, *, faults: bool = False) -> Path:
    folder.mkdir()
    Spool(folder).prepare()
    engine = make_engine(f"sqlite:///{folder / 'xrayq.db'}")
    schema.upgrade(engine)
    before = DAY - timedelta(days=1)
    days.fill(engine, before, 400, seed=2)
    freeze_missing(engine, Span.of_day(before, ZONE), films=days.DRIFT.reference_films, actor="relay")
    shares = days.Shares(failed=0.02, labelled=0.3) if faults else days.Shares()
    keys = days.fill(engine, DAY, 500, shares=shares, seed=9)
    if faults:
        days.wait(engine, keys[-4:], queued=True)
        days.wait(engine, keys[50:52], queued=False)
        days.brighten(engine, keys, "DX_WARD", 0.1)
        with writing(engine) as connection:
            third = score.c.instance_id.in_(keys[::3])
            connection.execute(update(score).where(third).values(prediction_set=["pneumonia", "covid19"]))
        noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
        days.stood(engine, "backlog", "", "the oldest waiting film has waited for 14 minutes", noon)
        days.stood(engine, "sender_silent", "MOBILE_1", "no film " + "since this morning " * 20, noon, noon)
    options = NightOptions(
        zone=ZONE, drift=days.DRIFT, site="A Hospital with a Rather Long Name, Radiology", spool=folder, reports=folder
    )
    write_report(engine, DAY, options, folder)
    engine.dispose()
    return folder / PAGE


def running(folder: Path) -> Path:
    """Of a day that is not over where it is noon now; a film is lost, and somebody wrote much about it."""
    folder.mkdir()
    engine = make_engine(f"sqlite:///{folder / 'xrayq.db'}")
    schema.upgrade(engine)
    now = datetime.now(UTC)
    zone = ZoneInfo(f"Etc/GMT{now.hour - 12:+d}" if now.hour != 12 else "UTC")
    days.fill(engine, now.date() - timedelta(days=1), 500)
    days.fill(engine, now.date(), 500)
    options = NightOptions(zone=zone, drift=days.DRIFT, site="Site A")
    with writing(engine) as connection:
        kept = {"at": now.isoformat(), "by": "operator:ann", "why": "nobreak" * 28, "value": 1, "about": ["1"]}
        row = {"rule": "performance", "subject": "covid19", "value": 1, "threshold": 0, "text": "left its interval"}
        connection.execute(insert(alarm), row | {"raised_at": now - timedelta(minutes=1), "acknowledged": kept})
        lost = {"channel": "webhook", "alarm": 1, "state": "raised", "reason": "http_500", "attempts": 12}
        trail.record(connection, action=GIVEN_UP, instance_id=None, actor="relay", detail=lost)
    for number in range(12):
        classes = [f"1.2.{'3' * 59}{kind}" for kind in "123456789"]
        contexts_refused(engine, f"SCANNER_OF_WARD{number:X}", *classes)
    write_report(engine, now.astimezone(zone).date(), options, folder)
    engine.dispose()
    return folder / PAGE


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def look(chromium: Browser, path: Path) -> dict[str, Any]:
    chromium.events.clear()
    chromium.open(path, **SCREEN)
    found: dict[str, Any] = chromium.evaluate(LOOK)
    return found


WANTED = {
    "quiet": "All 500 films that reached us accounted for",
    "faults": "2 films not accounted for",
    "running": "films that reached us accounted for so far; 1 thing needs a look",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WANTED)
def test_the_page_in_a_browser(chromium: Browser, pages: dict[str, Path], name: str) -> None:
    found = look(chromium, pages[name])
    assert chromium.complaints() == []
    assert chromium.requests() == [pages[name].as_uri()]
    assert (found["sideways"], found["wide"], found["cut"]) == (0, [], 0)
    assert found["pictures"] >= 3
    assert (found["blind"], found["broken"], found["faint"]) == (0, 0, [])
    assert (found["dead_links"], found["untitled"]) == (0, 0)
    assert found["headings"].split().count("H1") == 1
    assert found["headings"].startswith("H1 H2")
    assert 0 < found["bottom"] <= SCREEN["height"]  # the verdict and the tiles are on the first screen
    assert WANTED[name] in found["verdict"]
    assert ("This day is not over." in found["running"]) == (name == "running")


@pytest.mark.parametrize("name", WANTED)
def test_the_page_on_paper(chromium: Browser, pages: dict[str, Path], name: str) -> None:
    look(chromium, pages[name])
    chromium.call("Emulation.setEmulatedMedia", media="print")
    chromium.resize(**PRINTED)
    found = chromium.evaluate(LOOK)
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert (found["sideways"], found["wide"], found["cut"]) == (0, [], 0)
    pdf = chromium.pdf()
    assert pdf.startswith(b"%PDF-")
    assert 2 <= pdf.count(b"/Type /Page\n") <= 12


def test_what_a_page_must_not_do_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><title>bad</title><h1 style='color:#ccc'>faint</h1><p style='width:2000px'>wide</p>"
        "<img src='http://127.0.0.1:9/pixel.png'><a href='#nowhere'>x</a><table><tr><td>1</td></tr></table>"
        "<script>console.error('ouch'); nothing.at.all</script>"
    )
    found = look(chromium, page)
    assert "ouch" in chromium.complaints()
    assert any("ReferenceError" in one or "Uncaught" in one for one in chromium.complaints())
    assert "http://127.0.0.1:9/pixel.png" in chromium.requests()
    assert found["sideways"] > 0
    assert found["wide"]
    assert (found["blind"], found["broken"], found["dead_links"], found["untitled"]) == (1, 1, 1, 1)
    assert found["faint"] == ["faint"]
