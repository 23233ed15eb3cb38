"""Who sends: a thread for each destination; one that hangs or is away is in nobody's way."""

import threading
from dataclasses import replace

from sqlalchemy import event, select

from tests.integration.reporting.site import OPTIONS, Site
from tests.pacs import pacs
from tests.services import free_port, wait_until
from worker.db.session import reading
from worker.db.tables import errand
from worker.reporting.couriers import Courier, Couriers


def courier(site: Site, **options: float) -> Courier:
    return Courier(site.delivery(**options), site.destinations[0], threading.Event())


def test_one_that_is_away_is_asked_once_however_many_wait(site: Site) -> None:
    for name in ("one", "two", "three"):
        site.film(name)
    ours = courier(site, first_wait=60)
    assert ours.send_due() == 1
    assert ours.send_due() == 0, "it is left alone for a while"
    with reading(site.database) as connection:
        assert sorted(connection.execute(select(errand.c.attempts)).scalars()) == [0, 0, 1]


def test_when_it_takes_one_again_all_that_waits_is_due(site: Site) -> None:
    first = site.film("one")
    ours = courier(site, first_wait=0.05)
    assert ours.send_due() == 1
    postponed = site.waits()
    site.film("two")
    with pacs(site.destinations[0].port) as found:
        wait_until(lambda: ours.send_due() and not site.waits(), 10)
    assert len(found.kept) == 4
    assert (len(postponed), site.state(first)) == (1, "reported")


def test_what_was_refused_for_itself_is_not_due_sooner(site: Site) -> None:
    """An object at which the PACS breaks down is no reason to ask for it again and again."""
    site.film("one")
    with pacs(site.destinations[0].port) as found:
        found.statuses = [0xC000]
        assert courier(site, first_wait=3600).send_due() == 1
        ours = courier(site, first_wait=0.05)
        ours._failures = 1  # it was away since
        site.film("two")
        assert ours.send_due() == 1
    assert len(site.waits()) == 1


def test_a_pacs_that_hangs_delays_no_other(site: Site) -> None:
    hanging, well = free_port(), free_port()
    both = replace(site, routes=(f"CR1:SLOW@127.0.0.1:{hanging}", f"CR1:PACS@127.0.0.1:{well}"))
    film = both.film()
    couriers = Couriers(both.delivery(answer_seconds=30, send_seconds=60), both.destinations)
    held = threading.Event()
    with pacs(hanging, title="SLOW", silent=held) as slow, pacs(well) as found:
        couriers.start()
        wait_until(lambda: slow.callers and len(both.waits()) == 1, 20, "the PACS that is well")
        assert (len(found.kept), both.state(film)) == (2, "scored")
        couriers.stop()  # breaks the other one off at once
        assert not any(thread.is_alive() for thread in couriers._threads)
    assert both.waits() == [both.destinations[0].name]


def test_a_pacs_that_never_answers_is_given_up_for_now(site: Site) -> None:
    site.film()
    held = threading.Event()
    with pacs(site.destinations[0].port, silent=held):
        assert site.send(answer_seconds=1, send_seconds=1) == ["no_answer"]


def test_a_destination_that_takes_nothing_to_read_ends(site: Site) -> None:
    """It listens, takes the connection and says nothing at all."""
    import socket

    site.film()
    with socket.create_server(("127.0.0.1", site.destinations[0].port)):
        assert site.send(answer_seconds=0.5) == ["aborted"]


def test_a_database_that_fails_leaves_the_result_to_its_lease(site: Site) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO audit_event"):
            raise SQLAlchemyError("away")

    site.film()
    couriers = Couriers(site.delivery(), site.destinations)
    event.listen(site.database, "before_cursor_execute", fail)
    with pacs(site.destinations[0].port) as found:
        couriers.start()
        wait_until(lambda: len(found.kept) == 2, 10)
        couriers.stop()
        event.remove(site.database, "before_cursor_execute", fail)
        assert (len(site.waits()), site.sent()) == (1, [])
        site.later()
        assert site.send() == [""]
    assert len(set(found.uids)) == 2
    assert OPTIONS.lease_seconds > 2 * OPTIONS.send_seconds
