"""Users, sessions and attempts, as the database and the clock have them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from tests.integration.web.conftest import sqlite_alone
from worker.audit import trail
from worker.errors import ConfigurationError, NotFound, WrongState
from worker.web.people import Person, WebRole
from worker.web.signing_in import sessions, users
from worker.web.signing_in.attempts import OF_ADDRESS, OF_NAME, OF_PAIR, WINDOW, Attempts
from worker.web.signing_in.failures import A_MINUTE, TOO_MANY, Failures
from worker.web.signing_in.names import person_name, role_of
from worker.web.signing_in.passwords import matches

LENGTHS = sessions.Lengths(whole=timedelta(hours=1), idle=timedelta(minutes=10))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def found(database: Engine, id: str, minutes: float, *, seen: bool = True) -> Person | None:
    return sessions.person_of(database, id, LENGTHS, now=NOW + timedelta(minutes=minutes), seen=seen)


def test_a_change_of_a_user_ends_the_sessions(database: Engine) -> None:
    users.add(database, "Jones", WebRole.READER, "a long password", actor="operator:test")
    with pytest.raises(WrongState):
        users.add(database, "JONES", WebRole.ADMIN, "a long password", actor="operator:test")

    def signed_in() -> str:
        verified = users.password_hash(database, "jones")
        assert verified is not None
        id = sessions.start_local(database, "jones", verified, LENGTHS, address="10.1.2.3", now=NOW)
        assert id is not None
        return id

    old, id = users.password_hash(database, "jones"), signed_in()
    assert old is not None
    assert matches(old, "a long password")
    assert not matches(old, "another password")
    assert not matches(None, "a long password")
    assert found(database, id, 1) == Person(name="jones", role=WebRole.READER)
    users.change_role(database, "jones", WebRole.VIEWER, actor="operator:test")
    assert found(database, id, 1) is None
    id = signed_in()
    users.change_password(database, "jones", "the next password", actor="operator:test")
    assert found(database, id, 1) is None
    # The password was right a moment ago, and is another now.
    assert sessions.start_local(database, "jones", old, LENGTHS, address="10.1.2.3", now=NOW) is None
    id = signed_in()
    assert (users.sign_out(database, "JONES", actor="operator:test"), found(database, id, 1)) == (1, None)
    assert users.sign_out(database, "jones", actor="operator:test") == 0
    id = signed_in()
    users.remove(database, "jones", actor="operator:test")
    assert found(database, id, 1) is None
    with pytest.raises(NotFound):
        users.remove(database, "jones", actor="operator:test")
    assert trail.verify(database).whole
    told = [(row.action, row.actor) for row in trail.events(database)]
    assert told.count(("signed_in", "operator:jones")) == 4
    assert told[-1] == ("user_removed", "operator:test")
    assert not any(
        "password" in str(value) for row in trail.events(database) for value in row.detail if value != "what"
    )


def test_a_session_ends_by_itself(database: Engine) -> None:
    person = Person(name="jones", role=WebRole.ADMIN)
    id = sessions.start(database, person, LENGTHS, address="", now=NOW)
    assert found(database, id, 9) == person
    assert found(database, id, 18) == person  # seen at 9
    assert found(database, id, 27, seen=False) == person  # a live page alone keeps nobody signed in
    assert found(database, id, 28) is None
    other = sessions.start(database, person, LENGTHS, address="", now=NOW)
    assert [found(database, other, minutes) for minutes in range(5, 60, 5)] == [person] * 11
    assert found(database, other, 60) is None
    third = sessions.start(database, person, LENGTHS, address="", now=NOW)
    sessions.end(database, third, address="")
    sessions.end(database, third, address="")
    assert found(database, third, 1) is None
    assert [row.action for row in trail.events(database)].count("signed_out") == 1


def test_who_guesses_waits_and_a_colleague_elsewhere_does_not() -> None:
    attempts = Attempts()
    assert [attempts.wait("jones", "10.1.2.3", float(at)) for at in range(OF_PAIR)] == [0.0] * OF_PAIR
    assert attempts.wait("jones", "10.1.2.3", 10.0) == WINDOW - 10
    assert attempts.wait("jones", "10.1.2.4", 10.0) == 0.0
    assert attempts.wait("jones", "10.1.2.3", WINDOW) == 0.0
    for last in range(OF_PAIR):
        assert attempts.wait("jones", f"2001:db8::{last}", 0.0) == 0.0
    assert attempts.wait("jones", "2001:db8::ffff", 1.0) > 0
    many = [attempts.wait(f"name{number}", "10.9.9.9", 0.0) for number in range(31)]
    assert many[-2:] == [0.0, WINDOW]


def test_right_passwords_keep_nobody_out_and_guesses_not_from_ones_own_desk() -> None:
    attempts = Attempts()
    for number in range(OF_ADDRESS + 1):
        assert attempts.wait(f"name{number}", "10.1.2.3", float(number)) == 0.0
        attempts.right(f"name{number}", "10.1.2.3")
    assert attempts.wait("jones", "10.1.2.9", 40.0) == 0.0
    attempts.right("jones", "10.1.2.9")
    for number in range(OF_NAME):
        assert attempts.wait("jones", f"10.9.9.{number // OF_PAIR}", 41.0) == 0.0
    assert attempts.wait("jones", "10.8.8.8", 42.0) > 0
    assert [attempts.wait("jones", "10.1.2.9", 42.0) for _ in range(OF_PAIR)] == [0.0] * OF_PAIR
    assert attempts.wait("jones", "10.1.2.9", 43.0) > 0


@sqlite_alone
def test_a_guess_is_in_the_trail_however_much_else_is_tried(database: Engine) -> None:
    failures = Failures(database)
    for why, person, times in ((TOO_MANY, None, 30), ("unknown_name", None, 30), ("wrong_password", "jones", OF_NAME)):
        for _ in range(times):
            failures.tell(why, address="10.1.2.3", person=person)
    told = Counter(row.detail["reason"] for row in trail.events(database))
    assert told["wrong_password"] == OF_NAME
    assert told[TOO_MANY] <= 2 * A_MINUTE  # a minute may end meanwhile
    assert sum(row.detail.get("left_out_before", 0) for row in trail.events(database)) == 60 - told.total() + OF_NAME


@pytest.mark.parametrize("name", ["", "relay", "Gateway", "operator:jones", "this machine", "a" * 56, "a\nb", "(x)"])
def test_no_person_is_named_as_what_acts_by_itself(name: str) -> None:
    with pytest.raises(ConfigurationError):
        person_name(name)


def test_the_highest_role_of_a_persons_groups_counts() -> None:
    entries = ("xray:viewer", "chiefs:admin", "readers:reader")
    assert role_of(["readers", "xray"], entries) is WebRole.READER
    assert role_of(["others", "*"], entries) is None
    assert role_of([], (*entries, "*:viewer")) is WebRole.VIEWER
