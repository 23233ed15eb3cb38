"""Operations at the web page: what is seen, who may act, what an action leaves behind, and what one that fails says."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from lxml import html
from sqlalchemy import Engine, select, update
from starlette.testclient import TestClient

from dicom_gateway.spool import Spool
from model.bundle import Bundle
from tests.alarms import condition, settled
from tests.integration.peers.test_quarantine import film as received_film
from tests.integration.peers.test_quarantine import stranger
from tests.integration.reporting import site as of_results
from tests.integration.reporting.conftest import bundle
from tests.integration.web.conftest import CSRF, OneVisitor
from tests.integration.web.test_reading import drawn, given
from worker.bundles.roles import placed_bundle
from worker.db.session import reading, writing
from worker.db.tables import alarm, audit_event, errand, instance
from worker.instances import requeue
from worker.monitoring.readings import HIDDEN
from worker.reporting import acceptance
from worker.reporting.acceptance import DeviceState
from worker.reporting.destinations import routes_of
from worker.reporting.waiting import LOST, WAITS
from worker.web.app import application
from worker.web.operations.parts import Operations, OperationsOptions
from worker.web.operations.shared import Shared
from worker.web.people import Person, WebRole
from worker.web.site import Site, WebOptions

__all__ = ["bundle"]

PLACE = "CR1:PACS@pacs.example:104"
WHO = "operator:alex"


@pytest.fixture
def hospital(database: Engine, spool: Spool, bundle: Bundle, tmp_path: Path) -> of_results.Site:
    """CR1 is accepted; its results wait for a PACS that nobody asks."""
    made = of_results.Site(database=database, spool=spool, bundle=bundle, folder=tmp_path, routes=(PLACE,))
    made.accept()
    return made


@pytest.fixture
def operations(operations: OperationsOptions, bundle: Bundle) -> OperationsOptions:
    return replace(operations, routes=routes_of((PLACE,)), default=placed_bundle(bundle))


def read(browser: TestClient, path: str, status: int = 200, **headers: str) -> Any:
    answer = browser.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    return html.fromstring(answer.text)


def sent(browser: TestClient, path: str, status: int = 303, **fields: str) -> str:
    """What the browser is told."""
    answer = browser.post(path, data={"csrf": CSRF} | fields)
    assert answer.status_code == status, answer.text
    return answer.headers["location"] if status == 303 else html.fromstring(answer.text).text_content()


def events(database: Engine, *actions: str) -> list[tuple[int | None, str]]:
    """Instance and actor of these actions."""
    with reading(database) as connection:
        of_actions = select(audit_event).where(audit_event.c.action.in_(actions)).order_by(audit_event.c.id)
        return [(row.instance_id, row.actor) for row in connection.execute(of_actions)]


def state_of(database: Engine, key: int) -> tuple[str, str | None]:
    with reading(database) as connection:
        row = connection.execute(select(instance).where(instance.c.id == key)).one()
    return row.state, row.reason


def test_the_overview_shows_what_is_wrong_and_who_may_act(
    browser: TestClient, doors: OneVisitor, database: Engine, hospital: of_results.Site
) -> None:
    hospital.film("one")
    hospital.film("two", "failed")
    settled(database, condition("dead_letters", value=1, threshold=1))
    page = read(browser, "/operations")
    assert page.xpath("string(//*[@role='status']/h2)") == "Not well"
    assert "1 open alarm" in page.xpath("string(//*[@role='status'])")
    links = [link.get("href") for link in page.xpath("//td[@class='act']/a")]
    assert links == ["/operations/alarms/1", "/operations/dead-letters/truncated"]
    assert "Acknowledge" in page.xpath("string(//*[@id='alarms'])")
    assert "PACS@pacs.example:104" in page.xpath("string(//*[@id='deliveries'])")
    part = browser.get("/operations", headers={"hx-request": "true"}).text
    assert part.lstrip().startswith('<div id="now"')
    doors.person = Person(name="kim", role=WebRole.VIEWER)
    seen = read(browser, "/operations")
    assert "Acknowledge" not in seen.text_content()
    for path in (*links, "/operations/deliveries/1", "/operations/peers"):
        assert not read(browser, path).xpath("//main//button"), path
    for path in (links[0], f"{links[1]}/requeue", "/operations/deliveries/1", "/operations/deliveries/undelivered"):
        assert "needs the role operator" in sent(browser, path, 403, why="x", films="2")
    doors.person = Person(name="kim", role=WebRole.OPERATOR)
    assert "needs the role admin" in sent(browser, "/operations/peers/device/silence", 403, ae="CR1", reason="x")
    assert not events(database, "alarm_acknowledged", "requeued", "result_resent", "device_silenced")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_alarm_is_acknowledged_with_a_reason(browser: TestClient, database: Engine) -> None:
    settled(database, condition("backlog"))
    assert "open alarm" in read(browser, "/operations").text_content()
    for why in ("", "two\nlines", "x" * 201):
        assert "one line of 1 to 200 characters" in sent(browser, "/operations/alarms/1", 400, why=why)
    assert sent(browser, "/operations/alarms/1", why=" a worker is being mended ") == "/operations#alarms"
    assert "operator:alex knows: a worker is being mended" in read(browser, "/operations").text_content()
    with reading(database) as connection:
        assert connection.execute(select(alarm.c.acknowledged)).scalar_one()["why"] == "a worker is being mended"
    assert events(database, "alarm_acknowledged") == [(None, WHO)]
    settled(database)
    assert "This alarm is over" in sent(browser, "/operations/alarms/1", 404, why="x")


def test_dead_letters_of_a_reason_leave_together_and_only_those_that_were_seen(
    browser: TestClient, database: Engine, hospital: of_results.Site
) -> None:
    first, second, third = (hospital.film(name, "failed") for name in ("one", "two", "three"))
    page = read(browser, "/operations/dead-letters/truncated/requeue")
    (films,) = page.xpath("//input[@name='films']/@value")
    assert films == f"{third},{second},{first}"
    requeue(database, first, "operator:kim")  # while the page is open
    said = sent(browser, "/operations/dead-letters/truncated/reject", 409, films=f"{first},{second}")
    assert f"instance {first} is received" in said
    assert "1 rejected, 1 not" in said
    assert state_of(database, first) == ("received", None)
    assert state_of(database, second) == ("ineligible", "operator")
    assert sent(browser, "/operations/dead-letters/truncated/requeue", films=str(third)).endswith("?requeued=1")
    assert state_of(database, third)[0] == "received"
    assert events(database, "rejected", "requeued")[1:] == [(second, WHO), (third, WHO)]
    for films in ("", "1,x", "-1", "²", "9" * 19, ",".join(["1"] * 501)):
        sent(browser, "/operations/dead-letters/truncated/requeue", 409, films=films)
    read(browser, "/operations/dead-letters/truncated/requeue", 404)
    for path in ("truncated/drop", "%00", "x" * 65):
        read(browser, f"/operations/dead-letters/{path}", 404)


def test_what_was_given_up_is_sent_again(browser: TestClient, database: Engine, hospital: of_results.Site) -> None:
    key = hospital.film()
    hospital.silence()  # gives it up
    assert "CR1 is silent" in sent(browser, f"/operations/deliveries/{key}", 409)
    hospital.accept()
    assert "given up" in read(browser, "/operations").xpath("string(//*[@id='deliveries'])")
    assert f": {key}." in read(browser, "/operations/deliveries/undelivered").text_content()
    assert "1 film wait" in sent(browser, "/operations/deliveries/undelivered", 200)
    assert sent(browser, f"/operations/deliveries/{key}").endswith("?sent=yes")
    assert events(database, "result_resent") == [(key, WHO)] * 2
    with reading(database) as connection:
        kinds = connection.execute(select(errand.c.kind)).scalars().all()
    assert (kinds.count(WAITS), kinds.count(LOST)) == (1, 0)
    sent(browser, "/operations/deliveries/" + "9" * 30, 404)


def flags_of_today(browser: TestClient) -> list[str]:
    """Flagged and unsure, of the one sender."""
    return [cell.text for cell in read(browser, "/operations").xpath("//*[@id='today']//tbody/tr/td")[5:7]]


def test_where_a_result_goes_is_kept_from_whoever_is_to_label_its_film(
    browser: TestClient, doors: OneVisitor, database: Engine, hospital: of_results.Site
) -> None:
    key = hospital.film("one")
    drawn(database, [key])
    with writing(database) as connection:
        connection.execute(update(errand).where(errand.c.kind == WAITS).values(destination="PACS@elsewhere:104"))
    shown, to = f"/operations/deliveries/{key}", "PACS@pacs.example:104"
    pages = (shown, "/operations", "/operations/deliveries/undelivered")
    for page in pages:
        assert not read(browser, page).xpath(f"//tr[td='{to}']|//tr[th='{to}' and td='waits']"), page
        assert f": {key}." not in read(browser, page).text_content()
    assert HIDDEN in sent(browser, shown, 409)
    assert "Nothing is given up" in sent(browser, "/operations/deliveries/undelivered", 200)
    assert not events(database, "result_resent")
    assert flags_of_today(browser) == ["–", "–"]
    doors.person = Person(name="vic", role=WebRole.VIEWER)
    assert to in read(browser, shown).text_content()
    assert flags_of_today(browser) == ["1", "0"]
    doors.person = Person(name="alex", role=WebRole.OPERATOR)
    assert given(browser, key, "covid19") == 303
    assert to in read(browser, shown).text_content()
    assert read(browser, "/operations").xpath(f"//tr[td='{to}']")


def test_a_sender_or_one_film_leaves_the_quarantine(
    browser: TestClient, database: Engine, spool: Spool, tmp_path: Path
) -> None:
    keys = []
    for name, address in (("one", "10.1.2.7"), ("two", "10.1.2.7"), ("three", "10.9.9.9")):
        received = received_film(spool, tmp_path, name, "CR 1&2", sop_instance_uid=f"1.2.{len(keys) + 1}")
        keys.append(stranger(database, spool, received, address)[1])
    page = read(browser, "/operations/peers")
    ours, other = page.xpath("//*[@id='quarantine']//td[@class='act']/a/@href")
    assert "2 films" in read(browser, ours).text_content()
    told = sent(browser, "/operations/peers/sender", 200, ae="CR 1&2", address="10.1.2.7", verdict="admit")
    assert "CR 1&2 is a peer, from 10.1.2.7; 2 films left the quarantine." in told
    read(browser, ours, 404)
    for verdict in ("admit", "reject"):  # from a page that was open before
        said = sent(browser, "/operations/peers/sender", 409, ae="CR 1&2", address="10.1.2.7", verdict=verdict)
        assert "somebody was faster" in said
    assert read(browser, other).xpath("//td")
    assert sent(browser, f"/operations/peers/held/{keys[2]}", verdict="reject") == f"/film/{keys[2]}"
    assert "somebody was faster" in sent(browser, f"/operations/peers/held/{keys[2]}", 409, verdict="admit")
    assert [state_of(database, key)[0] for key in keys] == ["received", "received", "ineligible"]
    assert {actor for _, actor in events(database, "peer_added", "admitted", "rejected")} == {WHO}
    assert "Nothing is in quarantine" in read(browser, "/operations/peers").text_content()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_device_is_accepted_with_a_reason_and_silenced(
    browser: TestClient, database: Engine, hospital: of_results.Site
) -> None:
    hospital.film()

    def state() -> DeviceState:
        with reading(database) as connection:
            return acceptance.find(connection, "CR1").state

    assert "Undecided" in read(browser, "/operations/peers/device?ae=CR1").text_content()
    assert "one line" in sent(browser, "/operations/peers/device/silence", 400, ae="CR1", reason=" ")
    assert sent(browser, "/operations/peers/device/silence", ae="CR1", reason="new detector").endswith("#devices")
    assert state() is DeviceState.SILENT
    accepts = "/operations/peers/device/accept"
    assert "needs a reason" in sent(browser, accepts, 400, ae="CR1", on="nothing", reason="")
    assert "undecided" in sent(browser, accepts, 400, ae="CR1", on="evidence", reason="I am sure")
    assert state() is DeviceState.SILENT
    sent(browser, accepts, ae="CR1", on="nothing", reason="measured")
    assert state() is DeviceState.ACCEPTED
    assert "is accepted already" in sent(browser, accepts, 409, ae="CR1", on="nothing", reason="measured")
    assert events(database, "device_silenced", "device_accepted")[1:] == [(None, WHO)] * 2
    read(browser, "/operations/peers/device?ae=NOBODY", 404)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_is_said_on_the_page(
    database: Engine, operations: OperationsOptions, doors: OneVisitor, tmp_path: Path
) -> None:
    away = replace(operations, status=replace(operations.status, database_url=f"sqlite:///{tmp_path}/away/x.db"))
    options = WebOptions(site="", zone=ZoneInfo("UTC"), bundle=None)
    site = Site(database=database, options=options, operations=Operations(database, away))
    page = read(TestClient(application(site, doors)), "/operations")
    assert "database" in page.xpath("string(//*[@role='status'])")
    assert "away" in page.xpath("string(//*[@id='processes']/..)")
    assert not page.xpath("//*[@id='alarms']")


def test_one_browser_looks_and_the_others_see_what_was_there() -> None:
    looks: list[int] = []
    slow, go_on = threading.Event(), threading.Event()

    def look() -> int:
        looks.append(len(looks) + 1)
        if len(looks) == 2:
            slow.set()
            assert go_on.wait(10)
        return len(looks)

    shared = Shared(look, seconds=0)
    assert shared.newest() == 1
    first = threading.Thread(target=shared.newest)
    first.start()
    assert slow.wait(10)
    assert [shared.newest() for _ in range(5)] == [1] * 5
    go_on.set()
    first.join()
    kept = Shared(look, seconds=60)
    assert [kept.newest(), kept.newest()] == [3, 3]
    kept.forget()
    assert kept.newest() == 4
