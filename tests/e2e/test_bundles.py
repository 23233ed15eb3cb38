"""Bundles in service, as their operator has them: real processes, films by C-STORE, changes while they stream in."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from dicom_gateway.scu import send
from model.bundle import Bundle
from tests.bundles import small_bundle, with_threshold
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, free_port, listening, process, settings_of, typed_in, wait_until
from worker.db.session import make_engine, reading
from worker.db.tables import score
from worker.instances import list_instances

pytestmark = pytest.mark.e2e

FILMS = 16


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running service, whose settings name the first of three bundles."""

    port: int
    home: Path
    env: dict[str, str]
    database: Engine
    first: Bundle
    same: Bundle
    """The first one's network with another threshold."""
    second: Bundle

    def run(self, *words: str) -> str:
        with typed_in(self.home, **settings_of(self.env)) as xrayq:
            code, out, err = xrayq(*words)
        assert code == 0, err
        return out

    def states(self) -> Counter[str]:
        return Counter(view.state for view in list_instances(self.database))

    def scores(self) -> Counter[tuple[str, str]]:
        """(role, bundle) of each score."""
        with reading(self.database) as connection:
            rows = connection.execute(select(score.c.role, score.c.bundle_digest)).all()
        return Counter((row.role, row.bundle_digest) for row in rows)

    def per_film(self, role: str) -> list[int]:
        """How many scores of this role each film has."""
        with reading(self.database) as connection:
            found = connection.execute(select(score.c.instance_id).where(score.c.role == role)).scalars().all()
        return list(Counter(found).values())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    first, second = small_bundle(tmp_path / "first"), small_bundle(tmp_path / "second", seed=1)
    home, port, log = tmp_path / "home", free_port(), tmp_path / "up.log"
    env = environment(home=str(home), port=str(port), bundle=str(first.path), log_format="json")
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    with process("up", env, log):
        wait_until(lambda: listening(port), 30, "the gateway")
        yield Site(
            port=port,
            home=home,
            env=env,
            database=database,
            first=first,
            same=with_threshold(first, tmp_path / "same", 0.0),
            second=second,
        )
    database.dispose()
    text = log.read_text()
    assert "Traceback" not in text, text[-3000:]
    assert "SECRET" not in text.upper()


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    return [
        write_film(folder, f"film{number:03}", pixels=chest_pixels(256, 224, seed=number)) for number in range(FILMS)
    ]


def push(site: Site, films: list[Path]) -> None:
    assert {one.status for one in send("127.0.0.1", site.port, films, called_ae="XRAYQ", calling_ae="TEST")} == {0}


@pytest.mark.slow
def test_two_bundles_side_by_side(site: Site, films: list[Path]) -> None:
    site.run("bundle", "shadow", str(site.second.path))
    push(site, films)
    expected = {("live", site.first.digest): FILMS, ("shadow", site.second.digest): FILMS}
    wait_until(lambda: site.scores() == expected, 90, "all scores")
    assert site.per_film("live") == site.per_film("shadow") == [1] * FILMS
    listed = json.loads(site.run("instance", "list", "--json"))
    assert {one["bundle_digest"] for one in listed} == {site.first.digest}
    status: list[dict[str, Any]] = json.loads(site.run("bundle", "status", "--json"))
    assert [(row["role"], row["films"]) for row in status] == [
        ("live", {"live": FILMS, "shadow": 0}),
        ("shadow", {"live": 0, "shadow": FILMS}),
    ]
    assert "verdict: not enough films" in site.run("bundle", "compare")
    shown = site.run("instance", "show", "1")
    assert "live score, bundle" in shown
    assert "shadow score, bundle" in shown
    assert "instance 1 agrees" in site.run("instance", "replay", "1")


@pytest.mark.slow
def test_activated_and_rolled_back_while_films_stream_in(site: Site, tmp_path: Path) -> None:
    """Films go on coming until each bundle was live for some of them."""
    site.run("bundle", "shadow", str(site.same.path))
    stop, sent = threading.Event(), 0

    def stream() -> None:
        nonlocal sent
        while not stop.is_set():
            pixels = chest_pixels(256, 224, seed=sent)
            push(site, [write_film(tmp_path, f"film{sent + number}", pixels=pixels) for number in range(4)])
            sent += 4

    def live(bundle: Bundle, count: int) -> None:
        wait_until(lambda: site.scores()["live", bundle.digest] >= count, 60, f"{count} live scores")

    sender = threading.Thread(target=stream, daemon=True)
    sender.start()
    try:
        live(site.first, 5)
        site.run("bundle", "activate", str(site.second.path))
        live(site.second, 5)
        assert site.first.digest[:12] in site.run("bundle", "rollback")
        live(site.first, site.scores()["live", site.first.digest] + 5)
    finally:
        stop.set()
        sender.join(60)
    assert sent >= 15
    wait_until(lambda: site.states() == {"scored": sent}, 90, f"all of {sent} scored")
    wait_until(lambda: site.scores()["shadow", site.same.digest] == sent, 30, "shadow scores")
    assert site.per_film("live") == site.per_film("shadow") == [1] * sent
    scores = site.scores()
    assert scores["live", site.first.digest] + scores["live", site.second.digest] == sent
    roles = {row["digest"]: row["role"] for row in json.loads(site.run("bundle", "status", "--json"))}
    assert roles == {site.first.digest: "live", site.same.digest: "shadow", site.second.digest: "retired"}
