"""Films of a backfill: in the ledger and its accounts as every film, and in no figure or alarm of the day they came."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select, update

from tests import days
from tests.alarms import limits
from tests.integration.reporting.conftest import bundle, site
from tests.integration.reporting.site import Site
from tests.services import free_port
from worker.alarms import live_rules
from worker.bundles.roles import placed_bundle
from worker.db.session import reading, writing
from worker.db.span import Span
from worker.db.tables import errand, instance
from worker.errors import WrongState
from worker.monitoring import drift
from worker.nightly.content import NightOptions, night_report
from worker.processes.result_options import routes
from worker.reporting.destinations import OfBackfills
from worker.reporting.resend import resend

__all__ = ["bundle", "site"]

DAY = date(2026, 11, 20)
FILMS = 200


def backfilled(database: Engine, **values: object) -> None:
    """Every film, from now on."""
    with writing(database) as connection:
        connection.execute(update(instance).values(backfilled=True, **values))


def test_they_are_accounted_for_and_in_no_figure_of_the_day(database: Engine) -> None:
    days.fill(database, DAY, FILMS, shares=days.Shares(failed=0.1))
    options = NightOptions(zone=ZoneInfo("UTC"), drift=days.DRIFT)
    live = night_report(database, DAY, options)
    assert all((live.turnaround.films, live.sources, live.marks, live.distributions, live.scored))
    backfilled(database)
    old = night_report(database, DAY, options)
    assert sum(one.received for one in old.senders) == FILMS
    assert [one.received for one in old.senders] == [one.received for one in live.senders]
    assert (old.turnaround.films, old.scored) == (0, 0)
    assert old.sources == old.marked == old.marks == old.distributions == ()
    assert old.studies == {}
    with reading(database) as connection:
        assert drift.evaluate(connection, Span.of_day(DAY, ZoneInfo("UTC")), days.DRIFT).untested == ()


def test_they_raise_no_alarm_while_they_wait_or_fail(database: Engine) -> None:
    days.fill(database, DAY, 20)
    now = datetime.combine(DAY, datetime.min.time(), ZoneInfo("UTC")) + timedelta(days=2)

    def rules() -> set[str]:
        with reading(database) as connection:
            return {one.rule for one in live_rules.look(connection, limits(), 1000, now).conditions}

    with writing(database) as connection:
        connection.execute(update(instance).values(state="received"))
    assert rules() == {"backlog"}
    backfilled(database)
    assert rules() == set()
    backfilled(database, state="failed", finished_at=now, reason="truncated")
    assert rules() == set()
    with writing(database) as connection:
        connection.execute(update(instance).values(backfilled=False))
    assert rules() == {"dead_letters"}


@pytest.mark.parametrize(("told", "schemes"), [("pacs", ["PACS"]), ("all", ["PACS", "mllp"]), ("none", [])])
def test_their_results_go_where_the_setting_says(site: Site, told: str, schemes: list[str]) -> None:
    both = replace(
        site,
        routes=(*site.routes, f"CR1:mllp://127.0.0.1:{free_port()}"),
        settings={"backfill_results": OfBackfills(told).value},
    )
    key = both.film(end=False)
    backfilled(site.database)
    both.end(key)

    def waits() -> list[str]:
        with reading(site.database) as connection:
            names = sorted(connection.execute(select(errand.c.destination)).scalars())
        return [name.split("@")[0].split(":")[0] for name in names]

    assert waits() == schemes
    sent_again = partial(
        resend,
        site.database,
        key,
        routes(both.configured),
        default=placed_bundle(site.bundle),
        actor="operator:test",
    )
    if schemes:
        sent_again()
        assert waits() == schemes, "a person who sends it again pages nobody"
    else:
        with pytest.raises(WrongState, match="of a backfill"):
            sent_again()
