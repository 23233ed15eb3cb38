"""An AE that normally sends and does not, on both databases."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, func, select, text

from tests.alarms import arrived
from worker.alarms.rules import Condition
from worker.alarms.silence import conditions
from worker.db.session import reading
from worker.db.tables import instance

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 9, 21, 8, tzinfo=BERLIN)
"""The first of the working Mondays below."""


def mondays(weeks: range, films: int = 12, minutes: int = 5) -> list[datetime]:
    """Films from 08:00 on the site's clock, one every few minutes, each Monday."""
    starts = [MONDAY + timedelta(weeks=week) for week in weeks]
    return [start + timedelta(minutes=minutes * number) for start in starts for number in range(films)]


def silent(database: Engine, now: datetime, least: int = 10) -> list[Condition]:
    with reading(database) as connection:
        return list(conditions(connection, least, BERLIN, now))


def at(week: int, hour: int, minute: int = 0) -> datetime:
    return (MONDAY + timedelta(weeks=week)).replace(hour=hour, minute=minute)


def test_one_sentence_says_since_when_and_what_was_usual(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(4)))
    assert silent(database, at(4, 8, 44)) == []  # nine films by then
    (found,) = silent(database, at(4, 8, 45))
    assert (found.rule, found.subject, found.value, found.threshold) == ("sender_silent", "CR1", 10, 10)
    assert found.text == (
        "CR1 sent no new film since Monday 2026-10-12 08:55 Europe/Berlin; "
        "in the same hours of the weeks before it sent 10, 10, 10 films"
    )


def test_it_rests_when_it_always_rests(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(4)))
    assert [silent(database, at(3, 12) + timedelta(days=day)) for day in range(6)] == [[]] * 6


def test_only_the_ae_that_is_silent(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(4)))
    arrived(database, "CR2", [*mondays(range(4)), at(4, 8, 10)])
    arrived(database, "CR3", mondays(range(4), films=9))
    assert [one.subject for one in silent(database, at(4, 9))] == ["CR1"]


def test_a_week_without_films_before_makes_it_usual(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(2)) + mondays(range(3, 4)))
    assert silent(database, at(4, 12)) == []


@pytest.mark.parametrize(("weeks", "count"), [(1, 0), (2, 0), (3, 1), (4, 1)])
def test_two_earlier_weeks_are_needed(database: Engine, weeks: int, count: int) -> None:
    """The last Monday with films begins the silence; a week is known when the AE had sent before it began."""
    arrived(database, "CR1", mondays(range(weeks)))
    assert len(silent(database, at(weeks, 12))) == count


def test_it_stays_until_a_film_comes_or_it_is_taken_as_gone(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(5)))
    assert [len(silent(database, at(4 + week, 12) + timedelta(days=1))) for week in range(5)] == [0, 1, 1, 1, 0]
    arrived(database, "CR1", [at(6, 7)])
    assert silent(database, at(6, 7, 30)) == []


def test_a_long_silence_is_held_beside_seven_days_at_most(database: Engine) -> None:
    arrived(database, "CR1", mondays(range(5)))
    (found,) = silent(database, at(7, 12))
    assert found.text.endswith("in the same hours of the weeks before it sent 12, 12, 12, 12 films")


def test_a_change_of_clocks_does_not_move_the_working_day(database: Engine) -> None:
    """Clocks go back on 2026-10-25: at 08:30 that Monday seven films are usual, not twelve."""
    arrived(database, "CR1", mondays(range(5)))
    assert MONDAY + timedelta(weeks=5) == datetime(2026, 10, 26, 8, tzinfo=BERLIN)
    assert silent(database, at(5, 8, 30)) == []
    assert len(silent(database, at(5, 8, 45))) == 1


def test_queries_need_no_row_of_the_table(database: Engine) -> None:
    """Nor those of what is no film: of a CT's a million may lie between two films."""
    arrived(database, "CR1", mondays(range(4)))
    since = datetime(2026, 10, 1, tzinfo=BERLIN)
    query = select(func.count()).where(
        instance.c.calling_ae == "CR1", instance.c.is_film, instance.c.received_at > since
    )
    with reading(database) as connection:
        sql = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET enable_seqscan = off"))
            plan = connection.execute(text(f"EXPLAIN {sql}")).scalars().all()
            assert "ix_instance_calling_ae" in " ".join(plan)  # so few rows are the same to it by either index
        else:
            plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
            assert "COVERING INDEX ix_instance_calling_ae_is_film_received_at" in " ".join(plan)
