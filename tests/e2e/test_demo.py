"""`xrayq demo` on the public sample film, and on films of one's own."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from pydicom import dcmread

from dicom_gateway.contexts import TRANSFER_SYNTAXES
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, typed, wait_until
from worker.cli.demo import AGREEMENT
from worker.db.session import make_engine
from worker.demo import KEPT, own_films, wait_for
from worker.instances import list_instances
from worker.settings import Settings

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"


def demo(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", "demo", *words],
        env=environment(**settings) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=170,
    )


@pytest.mark.slow
def test_demo_scores_the_sample_film_in_every_syntax(tmp_path: Path) -> None:
    ran = demo("--json", "--home", str(tmp_path / "home"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("Results: off. The demo sends none to a PACS")
    rows = json.loads(ran.stdout)
    assert Counter(row["state"] for row in rows) == {"scored": len(TRANSFER_SYNTAXES), "ineligible": 1, "refused": 1}
    scored = [row for row in rows if row["state"] == "scored"]
    assert {row["transfer_syntax"] for row in scored} == {syntax.name for syntax in TRANSFER_SYNTAXES}
    # JPEG 2000 is decoded at a lower resolution, so it is not the same to the last bit.
    lossless = {syntax.name for syntax in TRANSFER_SYNTAXES if not syntax.lossy and syntax.codec != "jpeg2k"}
    for finding in scored[0]["probabilities"]:
        exact = [row["probabilities"][finding] for row in scored if row["transfer_syntax"] in lossless]
        every = [row["probabilities"][finding] for row in scored]
        assert max(exact) - min(exact) < 1e-4
        assert max(every) - min(every) < AGREEMENT
    for row in scored:
        assert row["unsure"] == (len(row["prediction_set"]) != 1)
        assert set(row["intervals"]) == set(row["probabilities"])
        assert "not a medical device" in row["notice"]
    assert {row["reason"] for row in rows if row["state"] == "ineligible"} == {"body_part"}
    assert all(row["reason"].startswith("0xC001") for row in rows if row["state"] == "refused")
    assert (tmp_path / "home" / "xrayq.db").is_file()


@pytest.mark.slow
def test_the_readme_shows_rows_of_the_demo(tmp_path: Path) -> None:
    """Its five rows are printed by the demo, but for the view and the latency. Scores may differ by machine."""
    (shown,) = re.findall(r"<!-- demo -->\n(.*)\n<!-- /demo -->", README.read_text(encoding="utf-8"), re.DOTALL)
    wanted = [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.splitlines()[2:]]
    assert [row[2] for row in wanted] == ["scored", "scored", "ineligible", "refused", "duplicate"]
    ran = demo("--home", str(tmp_path / "home"))
    assert ran.returncode == 0, ran.stderr
    words = " ".join(ran.stdout.split())
    for told in ("many round opacities", "prediction set:", "of films like it", "is up from a probability of"):
        assert told in words
    assert "not a medical device" in words
    printed = [re.split(r"\s{2,}", line.strip()) for line in ran.stdout.splitlines()]
    ends = {(row[0], row[1]): [row[3], *row[4:9]] for row in printed if len(row) > 4}
    for film, syntax, state, *scores, reason in wanted:
        found = ends[film, syntax]
        assert (found[0], found[-1]) == (state, reason)
        said = [float(score) for score in scores if score]
        assert [float(score) for score in found[1:-1]] == pytest.approx(said, abs=AGREEMENT)


def write_own(folder: Path) -> None:
    """Two pictures, a film, and a file that is neither."""
    folder.mkdir()
    picture = (chest_pixels(bits=8)).astype(np.uint8)
    cv2.imwrite(str(folder / "one.png"), picture)
    cv2.imwrite(str(folder / "two.jpg"), picture[:, ::-1])
    write_film(folder, "three")
    (folder / "notes.txt").write_text("not a film")


def test_own_pictures_are_wrapped_and_dicom_is_sent_as_it_is(tmp_path: Path) -> None:
    write_own(tmp_path / "films")
    (tmp_path / "sent").mkdir()
    films = own_films(tmp_path / "films", tmp_path / "sent")
    assert [film.name for film in films] == ["one.png", "three.dcm", "two.jpg"]
    assert [film.path.parent.name for film in films] == ["sent", "films", "sent"]
    assert [film.sop_instance_uid for film in films] == [dcmread(film.path).SOPInstanceUID for film in films]


@pytest.mark.slow
def test_demo_wraps_pictures_and_sends_dicom_as_it_is(tmp_path: Path) -> None:
    """For people, too: the table names each film and its end, the database and the spool. Of the settings it heeds how
    films are scored and nothing else."""
    folder, home = tmp_path / "films", tmp_path / "home"
    write_own(folder)
    words = ("--films", str(folder), "--home", str(home))
    ran = demo(*words, engine="onnxruntime", database_url="garbage", port="1")
    assert ran.returncode == 0, ran.stderr
    rows = [line.replace("│", " ").split() for line in ran.stdout.splitlines()]
    ends = {row[0]: "scored" in row for row in rows if row and row[0].endswith((".png", ".jpg", ".dcm", ".txt"))}
    assert ends == dict.fromkeys(("one.png", "two.jpg", "three.dcm"), True)
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    views = list_instances(database)
    database.dispose()
    assert [view.state for view in views] == ["scored"] * 3
    assert {str(view.engine).rpartition("-")[2] for view in views} == {"fp32"}
    assert "not a medical device" in ran.stdout.replace("\n", " ")
    assert f"database {home / 'xrayq.db'}" in ran.stdout.replace("\n", "")


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary folders go. Its path is short: sockets are made there, and theirs may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [False, True])
def test_the_demos_folder_goes_unless_it_is_to_be_kept(tmp_path: Path, place: Path, keep: bool) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write_film(films, "one")
    ran = subprocess.run(
        [sys.executable, "-m", "worker.cli", "demo", "--films", str(films), *(["--keep"] if keep else [])],
        env=environment() | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ran.returncode == 0, ran.stderr
    left = list(place.glob("xrayq-demo-*"))
    assert len(left) == keep
    if keep:
        assert f"kept {left[0]}" in ran.stderr.replace("\n", "")
        assert (left[0] / "xrayq.db").is_file()
    else:
        assert str(place) not in ran.stdout + ran.stderr


def test_the_demos_folder_goes_after_ctrl_c(tmp_path: Path, place: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write_film(films, "one")
    running = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "demo", "--films", str(films)],
        env=environment() | {"TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    try:
        wait_for(lambda: any(place.glob("xrayq-demo-*/up.log")), 60, "no log of `up`")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all of them
        assert running.wait(timeout=90) != 0
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert list(place.glob("xrayq-demo-*")) == []


def test_what_the_demo_heeds_are_settings() -> None:
    names = [f"XRAYQ_{name.upper()}" for name in Settings.model_fields]
    assert [kept for kept in KEPT if not any(name.startswith(kept) for name in names)] == []


def test_demo_on_an_empty_folder_says_so(tmp_path: Path) -> None:
    ran = typed("demo", "--films", str(tmp_path), "--home", str(tmp_path / "home"))
    assert ran.returncode == 3
    assert "no DICOM, PNG or JPEG film" in ran.stderr


def test_a_demo_that_is_killed_leaves_no_service(tmp_path: Path, place: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write_film(films, "one")
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli", "demo", "--films", str(films)],
        env=environment() | {"TMPDIR": str(place)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        wait_for(lambda: any(place.glob("xrayq-demo-*/up.log")), 60, "no log of `up`")
        family = wait_until(lambda: psutil.Process(running.pid).children(recursive=True), 30, "its service")
        running.kill()
    wait_until(lambda: not any(one.is_running() for one in family), 60, "the end of its service")
