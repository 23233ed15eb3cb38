"""A film with the flag "not normal" in the database: written, judged against labels, and exported to calibrate on."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, insert

from model import bundle as bundles
from model.bundle import Bundle
from model.calibrating.labelled_films import read_table
from model.decision import OperatingPoint
from model.engine.base import EngineSpec
from model.findings import FINDINGS, NOT_NORMAL
from model.scorer import score
from model.xray_devices import ATTRIBUTES
from worker.db import scores
from worker.db.film_measures import of_scores
from worker.db.session import reading, writing
from worker.db.tables import instance, truth
from worker.monitoring.labelled_table import labelled_films, write_table
from worker.monitoring.performance import performance
from worker.states import Role

LOGITS = np.array([[3, 0, 0], [3, 1, 0], [0, 2, 1], [0, 0.5, 3], [0.2, 0, 0.1]], np.float32)
LABELS = ("normal", "normal", "pneumonia", "covid19", "covid19")
SENDERS = ("ROOM_1", "ROOM_2", "ROOM_1", "ROOM_1", "ROOM_1")


class StandIn:
    spec = EngineSpec(name="stand-in-fp32", precision="fp32", device="cpu", batches=(1,))

    def warm_up(self) -> None:
        pass

    def infer(self, images: object) -> "np.ndarray":  # type: ignore[type-arg]
        return LOGITS

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The reference with the logits as they are, and one flag: not normal from 1/2 on."""
    reference = bundles.load(bundles.REFERENCE)
    point = OperatingPoint(
        finding=NOT_NORMAL,
        threshold=0.5,
        sensitivity=0.9,
        specificity=0.9,
        positives=100,
        negatives=100,
        chosen_on="val",
        id="not_normal@specificity-0.9",
    )
    plain = replace(reference.calibration.at_films, temperature=1.0, scale=(), bias=())
    return replace(reference, calibration=plain, operating_points=(point,))


@pytest.fixture
def films(database: Engine, bundle: Bundle) -> list[int]:
    """Five films of four studies, scored live and labelled."""
    now, keys = datetime.now(UTC), []
    found = score(StandIn(), bundle, np.zeros((5, 1, 224, 224), np.uint8))
    with writing(database) as connection:
        for number, (label, sender) in enumerate(zip(LABELS, SENDERS, strict=True)):
            names = ("sop_class_uid", "transfer_syntax_uid", "series_instance_uid", "called_ae", "modality")
            keys.append(
                int(
                    connection.execute(
                        insert(instance).returning(instance.c.id),
                        dict.fromkeys((*names, "body_part", "view_position"), "")
                        | {"sop_instance_uid": f"1.2.{number}", "revision": 1, "digest": f"{number:064}", "size": 1}
                        | {"study_instance_uid": f"1.3.{min(number, 3)}", "calling_ae": sender}
                        | {"state": "scored", "received_at": now},
                    ).scalar_one()
                )
            )
            connection.execute(
                insert(truth),
                {"sop_instance_uid": f"1.2.{number}", "accession_digest": "", "reader": "one", "label": label}
                | {"read_on": date(2026, 1, 1), "imported_at": now},
            )
        new = [scores.NewScore(instance_id=key, score=one, notes=()) for key, one in zip(keys, found, strict=True)]
        scores.write(connection, bundle, "stand-in-fp32", Role.LIVE, new, now)
    return keys


def test_the_flag_is_kept_and_listed_first(database: Engine, bundle: Bundle, films: list[int]) -> None:
    with reading(database) as connection:
        (stored,) = scores.of_instance(connection, films[2])
        lists = scores.live_scores(connection, instance.c.id == films[2])
        assert {key.measure for key, _, _ in of_scores(connection)} == {f"probability:{name}" for name in FINDINGS}
    assert list(stored.findings) == list(lists[films[2]].probabilities) == [NOT_NORMAL, *FINDINGS]
    assert stored.flags == lists[films[2]].flags == [NOT_NORMAL]
    composite = stored.findings[NOT_NORMAL]
    assert composite.probability == pytest.approx(1 - stored.findings["normal"].probability)
    assert composite.logit == pytest.approx(np.log(np.exp(2) + np.exp(1)))
    assert (composite.operating_point, composite.operating_point_id) == (0.5, "not_normal@specificity-0.9")
    assert stored.findings["normal"].operating_point is None


def test_it_is_right_where_a_film_has_any_finding_but_the_negative(
    database: Engine, bundle: Bundle, films: list[int]
) -> None:
    found = performance(database, bundle).others.rates
    assert {rate.finding for rate in found} == {NOT_NORMAL}
    assert {rate.label: (rate.right.value, rate.right.n) for rate in found} == {
        label: (1.0, LABELS.count(label)) for label in FINDINGS
    }


def test_the_table_is_one_that_calibrate_reads(
    database: Engine, bundle: Bundle, films: list[int], tmp_path: Path
) -> None:
    found = labelled_films(database, bundle)
    assert len(found) == len(films)
    write_table(tmp_path / "site.csv", found, bundle)
    read = read_table(bundle, tmp_path / "site.csv")
    assert (read.logits == LOGITS).all()
    assert [FINDINGS[label] for label in read.labels] == list(LABELS)
    assert len(set(read.patients)) == 4
    with (tmp_path / "site.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["calling_ae"] for row in rows] == list(SENDERS)
    assert list(rows[0]) == ["label", "patient_id", "bundle", *ATTRIBUTES, *(f"logit_{name}" for name in FINDINGS)]
    assert "1.3." not in (tmp_path / "site.csv").read_text()


def test_one_sender_alone(database: Engine, bundle: Bundle, films: list[int]) -> None:
    assert films
    assert [film.label for film in labelled_films(database, bundle, "ROOM_2")] == ["normal"]
    assert labelled_films(database, bundle, "ROOM_9") == []
    assert labelled_films(database, replace(bundle, digest="0" * 64)) == []
