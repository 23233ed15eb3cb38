"""`xrayq simulate`: a day foretold from a table, and from the labelled films of the database."""

import csv
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, select, update

from model import bundle as bundles
from model.bundle import Bundle
from model.calibrating.scored_table import read_scores
from model.calibration import PriorShift
from model.errors import DatasetError
from model.findings import NOT_NORMAL
from model.stats.site_day import FlagAt, site_days
from tests import days
from tests.bundles import device_calibration
from tests.services import typed
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import instance, score
from worker.monitoring.label_sample import Wanted, draw, order_of_draws
from worker.monitoring.labelled_scores import labelled_scores

WORDS = ("--films-per-day", "100", "--prevalence", "0.05,0.2", "--threshold", "not_normal=0.4,0.6")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundles.load(bundles.REFERENCE)


@pytest.fixture
def table(tmp_path: Path, bundle: Bundle) -> Path:
    """As `xrayq evaluate` writes it: 30 test films of each finding; films of train and of another view beside them."""
    path, random = tmp_path / "predictions.csv", np.random.default_rng(5)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "view", "label", *(f"logit_{name}" for name in bundle.findings), "patient", "bundle"])
        for number in range(90):
            logits = random.normal(size=3) + 2 * np.eye(3)[number % 3]
            name = bundle.findings[number % 3]
            writer.writerow(["test", "PA", name, *logits.round(4), f"p{number // 2}", bundle.digest[:12]])
            writer.writerow(["train", "PA", name, 9, 0, 0, "t", bundle.digest[:12]])
            writer.writerow(["test", "AP", name, 9, 0, 0, "a", bundle.digest[:12]])
    return path


def test_a_table_gives_the_films_of_one_split_in_the_views_of_the_bundle(table: Path, bundle: Bundle) -> None:
    found = read_scores(bundle, table)
    assert (len(found), found.films, len(set(found.patients))) == (90, dict.fromkeys(bundle.findings, 30), 45)
    assert found.unsure is not None
    assert bundle.conformal is not None
    for chances, unsure in zip(found.chances, found.unsure, strict=True):
        held = bundle.conformal.prediction_set(dict(zip(bundle.findings, chances.tolist(), strict=True)))
        assert unsure == (len(held) != 1)
    with pytest.raises(DatasetError, match="no films that are asked for"):
        read_scores(bundle, table, "val")


def test_a_sites_prevalences_change_no_flag_and_so_no_day(table: Path, bundle: Bundle) -> None:
    films, site = dict.fromkeys(bundle.findings, 1 / 3), {"normal": 0.9, "pneumonia": 0.08, "covid19": 0.02}
    shifted = replace(bundle.calibration, prior_shift=PriorShift(films=films, site=site))
    plain, moved = read_scores(bundle, table), read_scores(replace(bundle, calibration=shifted), table)
    assert np.array_equal(plain.chances, moved.chances)
    assert np.array_equal(plain.unsure, moved.unsure)


def test_the_command_says_what_the_function_says(table: Path, bundle: Bundle) -> None:
    done = typed("simulate", str(table), *WORDS, "--json")
    assert done.returncode == 0, done.stderr
    points = [FlagAt(flag=NOT_NORMAL, threshold=value) for value in (0.4, 0.6)]
    expected = site_days(read_scores(bundle, table), points, prevalences=(0.05, 0.2), films_per_day=100).as_dict()
    found = json.loads(done.stdout)
    assert found == found | json.loads(json.dumps(expected))
    assert "random sample" in found["random_sample_needed"]
    assert "not a medical device" in found["notice"]
    shown = typed("simulate", str(table), *WORDS).stdout
    for text in ("a day of 100 films", "not_normal 0.4000", "20 %", "missed", "unsure", "random sample", "90"):
        assert text in shown.replace("30 normal, 30 pneumonia, 30 covid19", "90")
    points = [f"{point.finding} {point.threshold:.4f}" for point in bundle.operating_points]
    assert all(point in typed("simulate", str(table)).stdout for point in points), "the bundle's, without --threshold"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "effusion=0.5"), "flags are not_normal, normal, pneumonia, covid19"),
        (("--threshold", "covid19"), "'' is not a number between 0 and 1"),
        (("--threshold", "covid19=nan"), "'nan' is not a number between 0 and 1"),
        (("--prevalence", "5"), "'5' is not a number between 0 and 1"),
        (("--device", "room-2"), "bundle reference has no calibration of a single device"),
        (("--split", "val"), "no films that are asked for"),
    ],
)
def test_what_cannot_be_asked(table: Path, words: tuple[str, ...], said: str) -> None:
    done = typed("simulate", str(table), *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_films_of_the_database_count_once_a_study(database: Engine, bundle: Bundle) -> None:
    keys = days.fill(database, date(2026, 11, 20), 60, shares=days.Shares(labelled=0.8), seed=3)
    found = labelled_scores(database, bundle).scores
    assert 20 < len(found) < 60
    assert found.chances.sum(axis=1) == pytest.approx(1, abs=0.01)
    assert found.unsure is not None
    assert not found.unsure.any(), "those films have no sets"
    with writing(database) as connection:
        connection.execute(update(instance).where(instance.c.id.in_(keys)).values(study_instance_uid="1.2.3"))
        connection.execute(update(score).values(prediction_set=[]))
    again = labelled_scores(database, bundle).scores
    assert (len(again), again.unsure is not None and bool(again.unsure.all())) == (1, True)


def test_films_of_a_device_are_apart(database: Engine, bundle: Bundle) -> None:
    days.fill(database, date(2026, 11, 20), 40, shares=days.Shares(labelled=1.0), seed=3)
    both = replace(bundle, devices=(device_calibration(bundle, "room-2", 0.3, station="DX2"),))
    everything = labelled_scores(database, both).scores
    with writing(database) as connection:
        half = select(score.c.id).order_by(score.c.id).limit(20)
        connection.execute(update(score).where(score.c.id.in_(half)).values(device="room-2"))
    own, room = (labelled_scores(database, both, device).scores for device in ("", "room-2"))
    assert set(own.patients) | set(room.patients) == set(everything.patients)
    assert own.patients
    at = [everything.patients.index(patient) for patient in room.patients]
    assert np.abs(room.chances - everything.chances[at]).max() > 0.01
    at = [everything.patients.index(patient) for patient in own.patients]
    assert (own.chances == everything.chances[at]).all()


def test_without_a_table_it_takes_the_database(tmp_path: Path, bundle: Bundle) -> None:
    home = tmp_path / "home"
    home.mkdir()
    database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
    schema.upgrade(database)
    empty = typed("simulate", "--threshold", "not_normal=0.5", home=str(home))
    assert (empty.returncode, "no labelled film with not_normal" in empty.stderr) == (2, True)
    days.fill(database, date(2026, 11, 20), 90, shares=days.Shares(labelled=0.9), seed=3)
    done = typed("simulate", "--threshold", "not_normal=0.5", home=str(home))
    assert done.returncode == 0, done.stderr
    assert "the labels of the database, one film a study" in done.stdout
    assert "Not a site's day" in done.stderr
    drawn = draw(database, "", Wanted(films=60, bundle_digest=bundle.digest), actor="test")
    assert len(drawn.films) == 60
    done = typed("simulate", "--threshold", "not_normal=0.5", "--json", home=str(home))
    found = json.loads(done.stdout)
    assert (done.stderr, found["random_sample"]) == ("", True)
    assert found["source"] == "the random sample of the database, one film a study"
    more = typed("simulate", "--threshold", "not_normal=0.5", "--all-labels", "--json", home=str(home))
    assert json.loads(more.stdout)["random_sample"] is False
    assert sum(json.loads(more.stdout)["films"].values()) > sum(found["films"].values())


def test_flagged_films_that_were_read_do_not_change_a_sites_day(database: Engine, bundle: Bundle) -> None:
    """The sample is read, and then films outside it that were flagged, as an eager reader does."""
    days.fill(database, date(2026, 11, 20), 80, shares=days.Shares(labelled=0.9), seed=3)
    draw(database, "", Wanted(films=40, bundle_digest=bundle.digest), actor="test")
    before = labelled_scores(database, bundle)
    days.fill(database, date(2026, 11, 21), 40, shares=days.Shares(labelled=1.0), seed=4)
    after, every = labelled_scores(database, bundle), labelled_scores(database, bundle, all_labels=True)
    assert (before.sampled, after.sampled, every.sampled) == (True, True, False)
    assert np.array_equal(after.scores.chances, before.scores.chances)
    assert len(before.scores) <= 40 < len(every.scores)


def test_labels_draws_and_scores_are_of_one_moment(
    database: Engine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process writes between two queries is in none of them."""
    days.fill(database, date(2026, 11, 20), 40, shares=days.Shares(labelled=1.0), seed=3)
    draw(database, "", Wanted(films=20, bundle_digest=bundle.digest), actor="test")
    before = labelled_scores(database, bundle)

    def then_others_write(connection: Connection) -> list[int]:
        found = order_of_draws(connection)
        with writing(database) as other:
            other.execute(update(score).values(bundle_digest="of another"))
        return found

    monkeypatch.setattr("worker.monitoring.labelled_scores.order_of_draws", then_others_write)
    found = labelled_scores(database, bundle)
    assert (found.sampled, found.scores.patients) == (True, before.scores.patients)
    assert len(found.scores) == 20
    monkeypatch.undo()
    assert len(labelled_scores(database, bundle).scores) == 0
