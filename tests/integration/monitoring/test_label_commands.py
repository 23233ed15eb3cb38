"""From a draw to a rate, as typed."""

import csv
import json
from pathlib import Path

import pytest

from model import bundle as bundles
from tests.integration.monitoring.test_labels import film
from tests.services import Xrayq, typed_in
from worker.db import schema
from worker.db.session import make_engine


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A site with thirty films that the shipped bundle scored; every third is flagged."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    digest = bundles.load(bundles.REFERENCE).digest
    for number in range(30):
        flags = () if number % 3 else ("covid19",)
        film(database, uid=f"1.{number}", flags=flags, digest=digest, study=f"1.2.{number}")
    return tmp_path


def fill(worklist: Path, label: str, rows: int) -> None:
    """As a reader does, from the top."""
    with worklist.open(newline="") as handle:
        found = list(csv.DictReader(handle))
    for row in found[:rows]:
        row |= {"label": label, "reader": "dr1", "read_on": "2026-01-02"}
    with worklist.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(found[0]))
        writer.writeheader()
        writer.writerows(found)


def test_from_a_draw_to_a_rate(home: Path) -> None:
    worklist = home / "worklist.csv"
    with typed_in(home, home=str(home)) as xrayq:
        assert "'xrayq labels sample --films 100" in _told(xrayq, "labels performance")
        code, out, err = xrayq("labels", "sample", "--films", "20", "--draw", "one", "--out", str(worklist))
        assert (code, out, err) == (0, "", "draw one: 20 films\n")
        _, again, err = xrayq("labels", "sample", "--draw", "one")
        assert again == worklist.read_text()
        assert "drawn" in err
        assert "covid19" not in again
        fill(worklist, "normal", 12)
        assert _told(xrayq, f"labels import {worklist}") == (
            "12 rows: 12 new, 0 corrected, 0 unchanged, 0 older, 0 without film, 8 not read\n"
        )
        told = _told(xrayq, "labels performance")
        assert "20 of the 30 films scored live" in told
        assert "12 labelled, readers disagree on 0, 8 not read" in told
        assert "Fewer than 90 % of the drawn films were read" in told
        fill(worklist, "normal", 20)
        xrayq("labels", "import", str(worklist))
        found = json.loads(_told(xrayq, "labels performance --json"))
        assert (found["sample"]["complete"], found["sample"]["labelled"]) == (True, 20)
        assert "easy ones" not in _told(xrayq, "labels performance")


def test_what_is_left(home: Path) -> None:
    with typed_in(home, home=str(home)) as xrayq:
        _, _, err = xrayq("labels", "sample", "--films", "50", "--draw", "all")
        assert err == "draw all: 30 films; 50 were asked for, and no more are left\n"
        code, _, err = xrayq("labels", "sample", "--films", "1")
        assert (code, "no film is left to draw" in err) == (3, True)
        code, _, err = xrayq("labels", "sample", "--ae", "CR99")
        assert (code, "no film of CR99 ever came" in err) == (3, True)


def test_a_reset_asks_for_a_reason_and_is_told(home: Path) -> None:
    with typed_in(home, home=str(home)) as xrayq:
        assert xrayq("labels", "reset", "--reason", " ")[0] == 2
        assert xrayq("labels", "reset", "--reason", "x" * 201)[0] == 2
        assert "next: xrayq labels sample" in _told(xrayq, "labels reset --reason detector")
        assert "Counted since the reset of" in _told(xrayq, "labels performance")
        assert xrayq("labels", "sample", "--films", "1")[0] == 3  # all films came before


@pytest.mark.parametrize("columns", ["60", "120"])
def test_every_value_is_whole_at_every_width(home: Path, columns: str) -> None:
    with typed_in(home, home=str(home)) as xrayq, pytest.MonkeyPatch.context() as patch:
        xrayq("labels", "sample", "--films", "20", "--draw", "one", "--out", str(home / "list.csv"))
        fill(home / "list.csv", "normal", 20)
        xrayq("labels", "import", str(home / "list.csv"))
        patch.setenv("COLUMNS", columns)
        told = _told(xrayq, "labels performance")
    assert "…" not in told
    for text in ("specificity", "PPV", "NPV", "n=20"):
        assert text in told


def _told(xrayq: Xrayq, words: str) -> str:
    code, out, err = xrayq(*words.split())
    assert code == 0, err
    return out
