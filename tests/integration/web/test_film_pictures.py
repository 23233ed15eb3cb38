"""Pictures of a film as a browser gets them: the service's own, none without a look, words where there is none."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, insert, select, text, update
from starlette.testclient import TestClient

from dicom_gateway.display import AS_SENT, Look
from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.spool import Spool
from dicom_gateway.windows import Window
from model.bundle import REFERENCE, load
from tests.integration.monitoring.test_labels import film
from tests.integration.web.conftest import CSRF, OneVisitor, sqlite_alone
from tests.integration.web.test_film import events_of
from tests.integration.web.test_reading import drawn
from tests.phantoms import chest_pixels, write_film
from tests.services import wait_until
from worker.bundles.replay import Replayed, Tolerance
from worker.db.session import writing
from worker.db.tables import instance, sent_object, truth
from worker.instances import InstanceView, TakenBack, scores_of
from worker.monitoring.readings import HIDDEN
from worker.web.app import application
from worker.web.film_tools import OF_ONE, FilmTools
from worker.web.people import Person, WebRole
from worker.web.pictures.film_pictures import FilmPictures, Scorer
from worker.web.pictures.values import FilmPicture, SpooledFilm
from worker.web.site import Site, WebOptions

BUNDLE = load(REFERENCE)
SEEDS = count(100)
SCORER = Scorer(bundle_digest=BUNDLE.digest, engine="test")


@pytest.fixture(scope="module")
def pictures() -> Iterator[FilmPictures]:
    pictures = FilmPictures(lambda _: BUNDLE, memory_bytes=2 << 30, max_pixels=64 << 20, seconds=60.0)
    yield pictures
    pictures.close()


@pytest.fixture
def site(database: Engine, spool: Spool, pictures: FilmPictures) -> Site:
    def replay(view: InstanceView) -> list[Replayed]:
        (stored,) = scores_of(database, view.id)
        probabilities = {name: finding.probability for name, finding in stored.findings.items()}
        logits = {name: finding.logit + 1 for name, finding in stored.findings.items()}
        return [
            Replayed(
                stored=stored,
                engine=stored.engine,
                logits=logits,
                probabilities=probabilities,
                flags=stored.flags,
                prediction_set=None,
                tolerance=Tolerance(number="logit", largest=1e-4, source="the same engine"),
            )
        ]

    films = FilmTools(
        replay=replay,
        take_back=lambda *_: TakenBack(not_told=("PACS@10.0.0.1:104",)),
        pictures=pictures,
        path_of=spool.path_of,
        viewer="https://ohif.example/viewer?StudyInstanceUIDs={study}",
    )
    return Site(database=database, films=films, options=WebOptions(site="", zone=ZoneInfo("UTC"), bundle=REFERENCE))


@pytest.fixture
def browser(site: Site, doors: OneVisitor) -> TestClient:
    return TestClient(application(site, doors), follow_redirects=False)


@pytest.fixture
def key(database: Engine, spool: Spool, tmp_path: Path) -> int:
    """A flagged film of the spool, another one for each test: children keep films that they have decoded."""
    path = write_film(tmp_path, pixels=chest_pixels(seed=next(SEEDS)), WindowCenter=1800, WindowWidth=3700)
    stored = store_file(path, spool, "XRAYQ")
    assert isinstance(stored, Received)
    made = film(database, uid="1.1", flags=("covid19",), digest=BUNDLE.digest)
    with writing(database) as connection:
        connection.execute(update(instance).values(digest=stored.digest))
    return made


def spooled(database: Engine, spool: Spool) -> SpooledFilm:
    with database.connect() as connection:
        digest = connection.execute(select(instance.c.digest)).scalar_one()
    return SpooledFilm(path=spool.path_of(digest), digest=digest)


def test_a_browser_gets_the_pictures_that_the_service_draws(
    browser: TestClient, database: Engine, spool: Spool, pictures: FilmPictures, key: int
) -> None:
    of, at = spooled(database, spool), f"/film/{key}"
    assert browser.get(f"{at}/picture.png").content == pictures.picture(of).png
    look = Look(window=Window(center=900.5, width=1200), turned=True)
    chosen = browser.get(f"{at}/picture.png?side=200&centre=900.5&width=1200&invert=1")
    assert chosen.content == pictures.picture(of, side=200, look=look).png
    assert chosen.headers["content-type"] == "image/png"
    assert chosen.headers["cache-control"] == "private, no-cache"
    assert browser.get(f"{at}/input.png").content == pictures.input_image(of, SCORER).png
    assert browser.get(f"{at}/map/covid19.png?side=200").content == pictures.map(of, SCORER, "covid19", side=200).png
    assert browser.get(f"{at}/map/hernia.png").status_code == 404
    about = browser.get(f"{at}/picture.json?side=200").json()
    assert (about["rows"], about["columns"], about["centre"], about["width"]) == (512, 448, 1800, 3700)
    shares = browser.get(f"{at}/maps.json").json()
    assert set(shares) == {"normal", "pneumonia", "covid19"}
    assert max(shares.values()) == 1
    again = browser.get(chosen.url.raw_path.decode(), headers={"if-none-match": chosen.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert events_of(database, key) == [("film_viewed", "operator:alex")]


def test_a_blind_reader_sees_the_film_and_no_map(browser: TestClient, database: Engine, key: int) -> None:
    drawn(database, [key])
    assert browser.get(f"/film/{key}/picture.png?side=100").status_code == 200
    for path in ("map/covid19.png", "maps.json", "input.png"):
        answer = browser.get(f"/film/{key}/{path}")
        assert answer.status_code == 409
        assert HIDDEN in answer.text
    assert browser.post(f"/film/{key}/replay", data={"csrf": CSRF}).status_code == 409
    assert "data-map" not in browser.get(f"/film/{key}").text


def test_there_are_words_where_there_is_no_picture(
    browser: TestClient, database: Engine, spool: Spool, key: int
) -> None:
    path = spooled(database, spool).path
    received = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"another film")
    answer = browser.get(f"/film/{key}/picture.png?side=100")
    assert answer.status_code == 409
    assert "is not the film that was received" in answer.text
    path.write_bytes(received)
    kept = browser.get(f"/film/{key}/picture.png?side=100").headers["etag"]
    path.unlink()
    answer = browser.get(f"/film/{key}/picture.png?side=100", headers={"if-none-match": kept})
    assert (answer.status_code, answer.text) == (410, "the film is not in the spool any more")
    page = browser.get(f"/film/{key}").text
    assert "not in the spool any more" in page
    assert "<img" not in page
    path.symlink_to("a" * 300)  # ENAMETOOLONG, as ESTALE of a file server
    assert browser.get(f"/film/{key}/picture.png?side=100", headers={"if-none-match": kept}).status_code == 422
    assert "The spool cannot be read now" in browser.get(f"/film/{key}").text


def test_what_no_viewer_asks_for_is_refused(browser: TestClient, key: int) -> None:
    windows = ("centre=1", "width=1", "centre=nan&width=1", "centre=1&width=0")
    for query in ("side=15", "side=99999", "side=x", *windows):
        assert browser.get(f"/film/{key}/picture.png?{query}").status_code == 400, query


@sqlite_alone
def test_one_browser_takes_no_more_than_its_share(
    browser: TestClient, doors: OneVisitor, pictures: FilmPictures, key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Event()
    draw = pictures.picture

    def slow_picture(film: SpooledFilm, *, side: int | None = None, look: Look = AS_SENT) -> FilmPicture:
        assert side == 100 or held.wait(60)
        return draw(film, side=side, look=look)

    monkeypatch.setattr(pictures, "picture", slow_picture)
    at = f"/film/{key}/picture.png?side="
    with ThreadPoolExecutor(OF_ONE + 3) as threads:
        try:
            asked = [threads.submit(browser.get, f"{at}{200 + number}") for number in range(OF_ONE + 3)]
            wait_until(lambda: sum(one.done() for one in asked) == 3, 30, "three to be sent away")
            assert browser.get(f"{at}100").status_code == 503
            doors.csrf = "token-of-another-browser"
            assert browser.get(f"{at}100").status_code == 200
        finally:
            held.set()
        assert sorted(one.result(30).status_code for one in asked) == [200] * OF_ONE + [503] * 3
    doors.csrf = CSRF
    assert browser.get(f"{at}100").status_code == 200


def test_no_picture_without_a_look_in_the_trail(browser: TestClient, database: Engine, key: int) -> None:
    with writing(database) as connection:
        connection.execute(text("ALTER TABLE audit_event RENAME TO audit_event_away"))
    for path in ("picture.png", "picture.json", "map/covid19.png", "maps.json", "input.png"):
        assert browser.get(f"/film/{key}/{path}").status_code == 503, path


def test_only_what_is_shown_here_is_a_look(browser: TestClient, database: Engine, spool: Spool, key: int) -> None:
    at, framed = f"/film/{key}", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    for path in ("", "/picture.png?side=100", "/picture.json?side=100"):
        assert browser.head(at + path).status_code == 200, path
    for path, status in (("picture.png?side=junk", 400), ("map/hernia.png", 404)):
        assert browser.get(f"{at}/{path}").status_code == status, path
    for site in ("same-site", "cross-site"):
        for path in ("", "/picture.png?side=100", "/maps.json"):
            assert browser.get(at + path, headers=framed | {"sec-fetch-site": site}).status_code == 403, path
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert browser.get(f"{at}/picture.png?side=100", headers=opened).status_code == 403
    drawn(database, [key])
    assert browser.get(f"{at}/maps.json").status_code == 409
    spooled(database, spool).path.unlink()
    assert browser.get(f"{at}/picture.png?side=100").status_code == 410
    assert events_of(database, key) == []
    assert browser.get(at, headers=opened).status_code == 200
    assert events_of(database, key) == [("film_viewed", "operator:alex")]


def test_the_page_tells_what_was_sent_and_what_readers_said(
    browser: TestClient, doors: OneVisitor, database: Engine, key: int
) -> None:
    now = datetime.now(UTC)
    sent = {"instance_id": key, "bundle_digest": BUNDLE.digest, "destination": "PACS@10.0.0.1:104", "digest": "ab"}
    sent |= {"sop_class_uid": "1.2", "sop_instance_uid": "1.3", "series_instance_uid": "1.4"}
    with writing(database) as connection:
        connection.execute(insert(sent_object).values(sent_at=now, status=0, committed_at=now, **sent))
        said = {"sop_instance_uid": "1.1", "accession_digest": "", "reader": "kim", "label": "pneumonia"}
        connection.execute(insert(truth).values(read_on=now.date(), imported_at=now, **said))
    page = browser.get(f"/film/{key}").text
    assert "PACS@10.0.0.1:104" in page
    assert "committed to it" in page
    assert "kim" in page
    assert 'href="https://ohif.example/viewer?StudyInstanceUIDs=1.2" target="_blank" rel="noopener noreferrer"' in page
    doors.person = Person(name="kim", role=WebRole.VIEWER)
    assert browser.post(f"/film/{key}/replay", data={"csrf": CSRF}).status_code == 403


def test_an_operator_replays_and_takes_out(browser: TestClient, database: Engine, key: int) -> None:
    replayed = browser.post(f"/film/{key}/replay", data={"csrf": CSRF})
    assert replayed.status_code == 200
    assert "differs" in replayed.text
    assert events_of(database, key) == [("film_viewed", "operator:alex")]
    assert browser.post(f"/film/{key}/reject", data={"csrf": CSRF}).status_code == 409  # it is scored
    waiting = film(database, uid="1.2")
    taken = browser.post(f"/film/{waiting}/reject", data={"csrf": CSRF})
    assert "PACS@10.0.0.1:104 has a result of the film before" in taken.text
    assert ("rejected", "operator:alex") in events_of(database, waiting)
    assert "an operator took it out" in browser.get(f"/film/{waiting}").text
