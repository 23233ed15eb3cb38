"""`xrayq up` as its user has it: real processes, killed without warning, and nothing lost."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray
from pydicom import dcmread, uid
from sqlalchemy import Engine, func, select

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import send
from tests.phantoms import chest_pixels, write_film
from tests.services import (
    child,
    environment,
    free_port,
    kill,
    listening,
    process,
    settings_of,
    tool,
    typed_in,
    wait_until,
)
from worker.db.session import make_engine, reading
from worker.db.tables import finding_score, score
from worker.instances import InstanceView, list_instances

pytestmark = pytest.mark.e2e

FILMS = 40
"""As many as a process can be killed among; FEW for tests that kill none which scores."""
FEW = 16


@dataclass(frozen=True, kw_only=True)
class Up:
    """A running service."""

    pid: int
    port: int
    home: Path
    env: dict[str, str]

    @cached_property
    def database(self) -> Engine:
        return make_engine(f"sqlite:///{self.home / 'xrayq.db'}")

    def instances(self) -> list[InstanceView]:
        return list_instances(self.database)

    def states(self) -> Counter[str]:
        return Counter(view.state for view in self.instances())

    def scores(self) -> tuple[int, int]:
        with reading(self.database) as connection:
            return tuple(  # type: ignore[return-value]
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (score, finding_score)
            )

    def run(self, *words: str) -> tuple[int, str, str]:
        """A command beside the service: code, out, err."""
        with typed_in(self.home, **settings_of(self.env)) as xrayq:
            return xrayq(*words)


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[Up]:
    home, port, log = folder / "home", free_port(), folder / "up.log"
    env = environment(home=str(home), port=str(port), log_format="json", **settings)
    with process("up", env, log) as started:
        wait_until(lambda: listening(port), 30, "the gateway")
        running = Up(pid=started.pid, port=port, home=home, env=env)
        yield running
        running.database.dispose()
    text = log.read_text()
    off = '"results: off: XRAYQ_RESULTS_TO is empty, so films are scored and no result is sent"' in text
    assert off == ("results_to" not in settings)
    assert "SECRET" not in text.upper(), "patient data in the log"
    assert "Traceback" not in text, text[-3000:]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One service for all tests: those that kill nothing come first."""
    with service(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint16]:
    return chest_pixels()


@pytest.fixture
def films(tmp_path: Path, pixels: NDArray[np.uint16]) -> list[Path]:
    """Never sent before."""
    return [write_film(tmp_path, f"{tmp_path.name}-{number:03}", pixels=pixels) for number in range(FILMS)]


def push(up: Up, films: list[Path]) -> list[Path]:
    """C-STORE over one association; the films that were answered with success."""
    sent = send("127.0.0.1", up.port, films, called_ae="XRAYQ", calling_ae="TEST")
    return [one.path for one in sent if one.status == 0]


def assert_each_scored_once(up: Up, expected: int, before: Counter[str]) -> None:
    """So many films, beside those that were there before."""
    wanted = Counter(scored=expected) + before
    wait_until(lambda: up.states() == wanted, 90, f"{wanted}, have {up.states()}")
    assert up.scores() == (wanted["scored"], 4 * wanted["scored"])  # not normal, and three findings


def test_dcmtk_pushes_mixed_syntaxes_and_each_has_its_end(up: Up, tmp_path: Path) -> None:
    """The issue's second proof, with the hospital's own tools."""
    folder = tmp_path / "films"
    folder.mkdir()
    plain = [s for s in TRANSFER_SYNTAXES if s.codec != "htj2k"]  # Debian's DCMTK does not know HTJ2K
    for syntax in plain:
        write_film(folder, syntax.name.replace(" ", "_"), syntax=syntax.uid)
    write_film(folder, "hand", BodyPartExamined="HAND")
    write_film(folder, "child", PatientAge="003Y")
    write_film(folder, "no_pixels", PixelData=None)
    total = len(plain) + 3 + sum(up.states().values())
    sent = subprocess.run(
        [tool("dcmsend"), "--scan-directories", "--no-halt", "127.0.0.1", str(up.port), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"TCP_NODELAY": "1"},
    )
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: sum(up.states().values()) == total and not up.states()["received"], 60, "all to end")
    every: list[dict[str, Any]] = json.loads(up.run("instance", "list", "--json")[1])
    listed = [one for one in every if one["calling_ae"] == "DCMSEND"]
    ends = Counter((one["state"], one["reason"]) for one in listed)
    assert ends == {
        ("scored", None): len(plain),
        ("ineligible", "body_part"): 1,
        ("ineligible", "age"): 1,
        ("failed", "no_pixel_data"): 1,
    }
    wanted = {
        "sop_instance_uid", "revision", "state", "reason", "probabilities", "flags", "calling_ae", "received_at",
        "scored_at",
    }  # fmt: skip
    assert all(wanted <= set(one) for one in listed)
    scored = [one["probabilities"] for one in listed if one["state"] == "scored"]
    assert max(max(p[f] for p in scored) - min(p[f] for p in scored) for f in scored[0]) < 0.02


def test_second_up_in_one_home_is_refused(up: Up) -> None:
    command = [sys.executable, "-m", "worker.cli", "up"]
    second = subprocess.run(command, env=up.env, capture_output=True, text=True, timeout=180)
    assert second.returncode == 5
    assert "another 'xrayq up'" in second.stderr


def test_doctor_is_content_and_then_names_what_is_missing(up: Up) -> None:
    def content() -> list[dict[str, Any]]:
        code, out, _ = up.run("doctor", "--json")
        return [] if code else json.loads(out)

    findings = wait_until(content, 40, "a healthy service")
    assert {finding["check"] for finding in findings} >= {"gateway", "spool", "database", "redis", "worker", "bundle"}
    other = settings_of(up.env) | {"port": str(free_port()), "bundle": str(up.home)}
    with typed_in(up.home, **other) as xrayq:
        code, _, err = xrayq("doctor")
    assert code == 5
    assert "gateway, bundle" in err


def test_submit_goes_the_same_way(up: Up, films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a film")
    before = up.states()
    code, out, _ = up.run("submit", str(films[0]), str(films[1]), str(tmp_path / "notes.txt"), "--json")
    assert code == 1
    assert [one["outcome"] for one in json.loads(out)] == ["received", "received", "refused"]
    assert_each_scored_once(up, 2, before)
    name = str(dcmread(films[0]).SOPInstanceUID)
    shown = json.loads(up.run("instance", "show", name, "--json")[1])
    assert [event["action"] for event in shown[0]["history"]] == ["received", "scored"]


def test_what_a_reader_warns_about_is_repeated_nowhere(up: Up, tmp_path: Path) -> None:
    """pydicom warns of an unknown character set and quotes it: gateway, decoder, `submit` and `prepare` read it."""
    before, named = up.states(), b"SECRET^PAT"
    films = [write_film(tmp_path, name, SpecificCharacterSet="ISO_IR 100") for name in ("sent", "submitted", "warns")]
    for film in films:
        film.write_bytes(film.read_bytes().replace(b"ISO_IR 100", named))
    warned = subprocess.run(
        [sys.executable, "-c", f"from pydicom import dcmread; dcmread({str(films[2])!r}).PatientName"],
        capture_output=True,
        check=True,
    )
    assert named in warned.stderr, "this film makes pydicom warn"
    assert len(push(up, films[:1])) == 1
    (tmp_path / "metadata.csv").write_text("image_id,file,label,patient_id\nx,warns.dcm,normal,p\n")
    for words in (["submit", str(films[1])], ["prepare", str(tmp_path), "--out", str(tmp_path / "out")]):
        typed = subprocess.run([sys.executable, "-m", "worker.cli", *words], env=up.env, capture_output=True)
        assert b"SECRET" not in typed.stdout + typed.stderr.replace(str(tmp_path).encode(), b""), words
    assert_each_scored_once(up, 2, before)
    assert "SECRET" not in (up.home.parent / "up.log").read_text()


def test_corrected_film_is_a_new_revision_and_both_are_scored(up: Up, tmp_path: Path) -> None:
    before, film = up.states(), write_film(tmp_path, "film")
    name = dcmread(film).SOPInstanceUID
    assert len(push(up, [film])) == 1
    assert len(push(up, [write_film(tmp_path, "film", pixels=chest_pixels(seed=9))])) == 1
    assert_each_scored_once(up, 2, before)
    assert [view.revision for view in up.instances() if view.sop_instance_uid == name] == [1, 2]


def test_htj2k_from_pynetdicom(up: Up, tmp_path: Path) -> None:
    before = up.states()
    paths = [write_film(tmp_path, f"h{n}", syntax=s) for n, s in enumerate((uid.HTJ2K, uid.HTJ2KLossless))]
    assert len(push(up, paths)) == 2
    assert_each_scored_once(up, 2, before)


def test_gateway_killed_in_mid_association(up: Up, films: list[Path]) -> None:
    before, promised, five = up.states(), list[Path](), threading.Event()
    gateway = wait_until(lambda: child(up.pid, "gateway"))

    def store() -> None:
        try:
            for one in send("127.0.0.1", up.port, films, called_ae="XRAYQ", timeout=5):
                if one.status == 0:
                    promised.append(one.path)
                if len(promised) == 5:
                    five.set()
        except PeerUnavailable:
            return

    sender = threading.Thread(target=store, daemon=True)
    sender.start()
    assert five.wait(60), "five promises"
    kill(gateway)
    sender.join(timeout=60)
    assert 5 <= len(promised) < FILMS
    wait_until(lambda: listening(up.port), 20, "the gateway to be back")
    assert len(push(up, films)) == FILMS  # the PACS tries again, films already promised among them
    assert_each_scored_once(up, FILMS, before)
    assert not list((up.home / "spool" / "incoming").iterdir())


def broker(up: Up) -> redis.Redis:
    url = wait_until(lambda: (up.home / "run" / "redis.url").read_text().strip(), 20)
    return redis.Redis(unix_socket_path=url.removeprefix("redis+socket://"))


def test_redis_flushed_again_and_again(up: Up, films: list[Path]) -> None:
    before, films = up.states(), films[:FEW]
    with broker(up) as client:
        client.flushall()
        assert len(push(up, films)) == FEW
        for share in (0.0, 0.3, 0.6):
            scored = before["scored"] + share * FEW
            wait_until(lambda scored=scored: up.states()["scored"] > scored, 60)  # type: ignore[misc]
            client.flushall()
    assert_each_scored_once(up, FEW, before)


def test_redis_killed(up: Up, films: list[Path]) -> None:
    before, films = up.states(), films[:FEW]
    with broker(up) as client:
        kill(client.info("server")["process_id"])
    assert len(push(up, films)) == FEW  # receiving does not need Redis
    assert_each_scored_once(up, FEW, before)


@pytest.mark.slow
def test_worker_killed_in_mid_batch(up: Up, films: list[Path]) -> None:
    before = up.states()
    worker = wait_until(lambda: child(up.pid, "worker"), 20)
    os.kill(worker, signal.SIGSTOP)  # so that many films wait when it goes on
    assert len(push(up, films)) == FILMS
    os.kill(worker, signal.SIGCONT)
    for _ in range(2):
        done = up.states()["scored"]
        wait_until(lambda done=done: up.states()["scored"] > done, 60, "some more scored")  # type: ignore[misc]
        assert up.states()["received"] > 0, "nothing left to be in mid-batch with"
        kill(wait_until(lambda: child(up.pid, "worker"), 20))
    assert_each_scored_once(up, FILMS, before)


@pytest.mark.slow
def test_up_is_stopped_with_films_waiting_and_goes_on(tmp_path: Path, films: list[Path]) -> None:
    home, port = tmp_path / "home", free_port()
    env = environment(home=str(home), port=str(port))
    few = films[: FILMS // 2]
    with process("up", env, tmp_path / "up.log") as started:
        wait_until(lambda: listening(port), 30, "the gateway")
        up = Up(pid=started.pid, port=port, home=home, env=env)
        assert len(push(up, few)) == len(few)
    assert started.returncode == 0
    assert not listening(port)
    with process("up", env, tmp_path / "up.log") as started:
        assert_each_scored_once(up, len(few), Counter())
    up.database.dispose()
