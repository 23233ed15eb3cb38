"""A database that answers and takes nothing: not ready, and told without it."""

import json
from functools import partial

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.receivers import hook, web
from worker.alarms import webhook
from worker.alarms.database_rule import DatabaseWatch
from worker.errors import Unhealthy
from worker.health import probes
from worker.queue.errands import Kind


class Taking:
    """Whether the database takes what is written: PostgreSQL as a standby, SQLite on a full disk."""

    def __init__(self, engine: Engine, patch: pytest.MonkeyPatch) -> None:
        self.engine = engine
        self.patch = patch

    def set(self, taking: bool) -> None:
        if self.engine.dialect.name == "sqlite":
            self.patch.setattr(probes, "DATABASE_MIB", 1 if taking else 1 << 40)
            return
        word = "off" if taking else "on"
        self.engine.dispose()
        admin = create_engine(self.engine.url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(
                text(f"ALTER DATABASE {self.engine.url.database} SET default_transaction_read_only = {word}")
            )
        admin.dispose()


@pytest.fixture
def taking(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Taking:
    return Taking(database, monkeypatch)


def test_a_database_that_takes_nothing_is_not_ready(database: Engine, taking: Taking) -> None:
    assert probes.database(database) == "answers, schema is up to date"
    taking.set(False)
    with pytest.raises(Unhealthy, match=r"read-only, as a standby is|free on the disk of the database"):
        probes.database(database)


def test_it_is_told_once_on_each_channel_and_so_is_its_end(database: Engine, taking: Taking) -> None:
    with web(200, 503, 200, 200) as found:
        send = partial(webhook.send, hook(found.url))
        watch = DatabaseWatch(partial(probes.database, database), {Kind.WEBHOOK: send}, "relay1", patience=0)
        watch()
        taking.set(False)
        for _ in range(2):
            with pytest.raises(Unhealthy):
                watch()
        taking.set(True)
        for _ in range(3):  # the first is answered 503
            watch()
    told = [json.loads(body) for _, body in found.requests]
    assert [(one["rule"], one["subject"], one["state"]) for one in told] == [
        ("database", "relay1", "raised"), ("database", "relay1", "cleared"), ("database", "relay1", "cleared"),
    ]  # fmt: skip
    assert told[0]["text"].startswith("no film is accepted or scored: ")


def test_a_restart_is_not_told(database: Engine, taking: Taking) -> None:
    with web() as found:
        send = partial(webhook.send, hook(found.url))
        watch = DatabaseWatch(partial(probes.database, database), {Kind.WEBHOOK: send}, "relay1")
        taking.set(False)
        with pytest.raises(Unhealthy):
            watch()
        taking.set(True)
        watch()
    assert found.requests == []
