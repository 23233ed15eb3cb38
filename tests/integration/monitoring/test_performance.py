"""Films drawn at random in both databases, and live rates from their labels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, insert, select, update

from model import bundle as bundles
from model.bundle import Bundle
from model.findings import FINDINGS, NOT_NORMAL
from model.stats.binomial import interval
from tests.bundles import device_calibration
from tests.integration.monitoring.test_labels import csv, film, imported
from tests.services import typed_in
from worker.db.session import reading, writing
from worker.db.tables import audit_event, label_sample, score, truth
from worker.errors import ConfigurationError, NotFound
from worker.monitoring.label_sample import Draw, Wanted, choose, draw, order_of_draws, reset
from worker.monitoring.live_labels import against_labels
from worker.monitoring.live_rates import LabelRate, Performance
from worker.monitoring.performance import performance

ACTOR = "operator:test"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """With operating points that say by label how they flag: specificity .80 on each label but their own."""
    shipped = bundles.load(bundles.REFERENCE)
    points = tuple(
        replace(point, flagged_by_label={name: (90 if name == point.finding else 20, 100) for name in FINDINGS})
        for point in shipped.operating_points
    )
    return replace(shipped, operating_points=points)


def scored(database: Engine, bundle: Bundle, number: int, flags: tuple[str, ...] = (), study: str = "") -> int:
    return film(database, uid=f"1.{number}", flags=flags, digest=bundle.digest, study=study or f"1.2.{number}")


def drawn(database: Engine, bundle: Bundle, films: int, name: str = "", seed: int = 1) -> Draw:
    return draw(database, name, Wanted(films=films, bundle_digest=bundle.digest, seed=seed), actor=ACTOR)


def put_in_order(database: Engine, keys: Sequence[int]) -> None:
    """As a draw would be that chance gave just so."""
    rows = [{"draw": "one", "instance_id": key, "drawn_at": datetime.now(UTC)} for key in keys]
    with writing(database) as connection:
        connection.execute(insert(label_sample), rows)


def said(database: Engine, labels: dict[int, str], reader: str = "dr1") -> None:
    """By the number of the film."""
    about = {"accession_digest": "", "reader": reader, "read_on": datetime.now(UTC).date()}
    about |= {"imported_at": datetime.now(UTC)}
    rows = [about | {"sop_instance_uid": f"1.{number}", "label": label} for number, label in labels.items()]
    with writing(database) as connection:
        connection.execute(insert(truth), rows)


def rate(measured: Performance, finding: str, label: str) -> LabelRate:
    (rates,) = (one for one in measured.sample.findings if one.finding == finding)
    (found,) = (one for one in rates.by_label if one.label == label)
    return found


def test_one_film_a_study_and_no_study_twice(database: Engine, bundle: Bundle) -> None:
    for number in range(12):
        scored(database, bundle, number, study=f"1.2.{number // 3}")
    film(database, uid="1.90", study="1.2.90")  # not scored
    film(database, uid="1.91", study="1.2.91", flags=(), digest="another")
    film(database, uid="1.92", study="1.2.92", flags=(), digest=bundle.digest, role="shadow")
    first = drawn(database, bundle, 3)
    rest = drawn(database, bundle, 3)
    studies = [one.study_instance_uid for one in (*first.films, *rest.films)]
    assert (len(first.films), len(rest.films)) == (3, 1)
    assert sorted(studies) == ["1.2.0", "1.2.1", "1.2.2", "1.2.3"]
    assert rest.name == f"{first.name}.2"
    with pytest.raises(NotFound, match="no film is left"):
        drawn(database, bundle, 1)
    with reading(database) as connection:
        events = connection.execute(select(audit_event)).all()
    assert [(event.action, event.detail["films"], event.detail["studies"]) for event in events] == [
        ("labels_drawn", 3, 4),
        ("labels_drawn", 1, 1),
    ]


def test_draws_at_once_take_no_study_twice(database: Engine, bundle: Bundle) -> None:
    for number in range(40):
        scored(database, bundle, number, study=f"1.2.{number // 4}")
    with ThreadPoolExecutor(4) as pool:
        draws = list(pool.map(lambda seed: drawn(database, bundle, 2, f"draw {seed}", seed), range(4)))
    studies = [one.study_instance_uid for made in draws for one in made.films]
    assert len(studies) == len(set(studies)) == 8


def test_the_same_draw_is_the_same_list(database: Engine, bundle: Bundle) -> None:
    for number in range(30):
        scored(database, bundle, number)
    first = drawn(database, bundle, 10, name="november")
    again = drawn(database, bundle, 20, name="november", seed=7)
    assert again == replace(first, again=True)
    row = first.as_dict()["films"][0]
    assert list(row) == ["sop_instance_uid", "study_instance_uid", "received", "label", "reader", "read_on"]
    assert (row["label"], row["reader"], row["read_on"]) == ("", "", "")
    with pytest.raises(ConfigurationError):
        drawn(database, bundle, 1, name="n" * 65)


def test_a_draw_is_of_the_films_that_were_asked_for(database: Engine, bundle: Bundle) -> None:
    scored(database, bundle, 1)
    now = datetime.now(UTC)
    for changes in ({"since": now + timedelta(hours=1)}, {"until": now - timedelta(hours=1)}, {"calling_ae": "CR9"}):
        with pytest.raises(NotFound):
            draw(database, "", Wanted(films=1, bundle_digest=bundle.digest, **changes), actor=ACTOR)
    wanted = Wanted(films=1, bundle_digest=bundle.digest, calling_ae="1.2", until=now + timedelta(hours=1))
    assert len(draw(database, "", wanted, actor=ACTOR).films) == 1


def test_chance_chooses() -> None:
    """Every study alike, however many films it has, and each of its films alike."""
    films = [[1], [2, 3, 4, 5], [6, 7]]
    counts = np.bincount([choose(films, 1, seed)[0] for seed in range(3000)], minlength=8)
    assert counts[1] == pytest.approx(1000, abs=110)
    assert counts[2:6].tolist() == pytest.approx([250] * 4, abs=70)
    assert sorted(choose(films, 9, 1)) == sorted({*choose(films, 9, 1)})
    assert choose(films, 3, 5) == choose(films, 3, 5)


def test_rates_are_of_drawn_films_by_label(database: Engine, bundle: Bundle) -> None:
    flags = [("covid19",), (), ("covid19", "pneumonia"), ("pneumonia",), (), ("covid19",)]
    labels = ["covid19", "covid19", "pneumonia", "normal", "normal", "normal"]
    keys = [scored(database, bundle, number, flagged) for number, flagged in enumerate(flags)]
    keys.append(scored(database, bundle, 6, ("covid19",)))  # readers disagree
    keys.append(scored(database, bundle, 7))  # not read
    for number in (20, 21):
        scored(database, bundle, number, ("covid19",))  # not drawn
    put_in_order(database, keys)
    said(database, dict(enumerate(labels)) | {6: "normal", 20: "normal", 21: "covid19"})
    said(database, {6: "covid19"}, reader="dr2")
    got = performance(database, bundle)
    assert (got.scored, got.flagged) == (10, 7)
    sample = got.sample
    assert (sample.drawn, sample.labelled, sample.disputed, sample.unread, sample.complete) == (8, 6, 1, 1, False)
    counts = {
        label: (found.name, found.rate.successes, found.rate.trials)
        for label in FINDINGS
        for found in [rate(got, "covid19", label)]
    }
    assert counts == {
        "normal": ("specificity", 2, 3),
        "pneumonia": ("specificity", 0, 1),
        "covid19": ("sensitivity", 1, 2),
    }
    covid = next(one for one in sample.findings if one.finding == "covid19")
    assert (covid.ppv.value, covid.ppv.n) == (0.3333, 3)
    assert (covid.npv.value, covid.npv.n) == (0.6667, 3)
    assert rate(got, "covid19", "normal").rate.calibrated == interval(80, 100)
    assert rate(got, "covid19", "covid19").rate.calibrated == interval(90, 100)
    assert rate(got, "covid19", "normal").rate.alarm_from == pytest.approx(180)  # 1 / .05, shared by nine rates
    others = got.others
    assert (others.labelled, others.flagged, others.disputed) == (2, 2, 0)
    assert others.as_dict()["representative"] is False
    (chosen,) = (one for one in others.rates if (one.finding, one.label) == ("covid19", "normal"))
    assert (chosen.right.value, chosen.right.n) == (0.0, 1)


def test_a_devices_films_are_held_against_its_own_calibration(
    database: Engine, database_url: str, bundle: Bundle, tmp_path: Path
) -> None:
    """Its flags were calibrated to be up on 99 of 100 normal films, the bundle's on 20: 60 of 60 normal films with a
    flag are an alarm beside the bundle's interval, and none beside the device's."""
    own = device_calibration(bundle, "room-2", 0.3, station="DX2")
    points = tuple(
        replace(point, flagged_by_label={name: (99 if name == "normal" else 90, 100) for name in FINDINGS})
        for point in own.operating_points
    )
    both = replace(bundle, devices=(replace(own, operating_points=points),))
    flags = ("not_normal", "covid19", "pneumonia")
    keys = [
        film(
            database,
            uid=f"1.{number}",
            flags=flags,
            digest=bundle.digest,
            study=f"1.2.{number}",
            findings=("not_normal", *FINDINGS),
            device=name,
        )
        for number, name in enumerate([None, "room-2"] * 60)
    ]
    put_in_order(database, keys)
    said(database, dict.fromkeys(range(120), "normal"))
    got = performance(database, both)
    (room,) = got.devices
    assert (got.sample.drawn, room.device, room.sample.drawn) == (60, "room-2", 60)
    assert rate(got, "covid19", "normal").rate.alarm
    assert rate(got, "covid19", "normal").rate.alarm_from == pytest.approx(360)  # 1 / .05, shared by eighteen rates
    of_room = next(one for one in room.sample.findings if one.finding == "covid19").by_label[0].rate
    assert (of_room.calibrated, of_room.trials, of_room.alarm) == (interval(1, 100), 60, False)
    assert [part["device"] for part in got.as_dict()["devices"]] == ["room-2"]
    with typed_in(tmp_path, database_url=database_url) as xrayq:
        on_disk = bundles.derive(bundle, tmp_path / "both", devices=both.devices)
        with writing(database) as connection:
            connection.execute(update(score).values(bundle_digest=on_disk.digest))
        code, shown, err = xrayq("labels", "performance", "--bundle", str(on_disk.path))
        with writing(database) as connection:
            connection.execute(update(score).values(bundle_digest=bundle.digest))
    assert code == 0, err
    assert "Films of no device with a calibration of its own:" in shown
    assert 0 < shown.rindex("ALARM since") < shown.index("Films of device room-2:")
    alone = performance(database, bundle)
    assert alone.devices == ()
    assert "devices" not in alone.as_dict()


def test_a_label_is_held_against_films_of_its_own_kind_alone(database: Engine) -> None:
    """A bundle that does not say by label how it flags has no interval for a mix of labels."""
    shipped = bundles.load(bundles.REFERENCE)
    plain = replace(
        shipped, operating_points=tuple(replace(one, flagged_by_label=None) for one in shipped.operating_points)
    )
    got = performance(database, plain)
    assert rate(got, "covid19", "covid19").rate.calibrated is not None
    assert rate(got, "covid19", "normal").rate.calibrated is None


def test_not_normal_is_right_about_every_other_label(database: Engine, bundle: Bundle) -> None:
    point = replace(bundle.operating_points[0], finding=NOT_NORMAL)
    composite = replace(bundle, operating_points=(point,))
    keys = [scored(database, bundle, number) for number in range(3)]
    keys += [
        film(database, uid=f"1.{number}", flags=(NOT_NORMAL,), digest=bundle.digest, study=f"1.2.{number}",
             findings=(NOT_NORMAL, *FINDINGS))
        for number in range(3, 6)
    ]  # fmt: skip
    put_in_order(database, keys)
    said(database, {0: "normal", 1: "pneumonia", 2: "covid19", 3: "normal", 4: "pneumonia", 5: "covid19"})
    got = performance(database, composite)
    for label, positive in (("normal", False), ("pneumonia", True), ("covid19", True)):
        found = rate(got, NOT_NORMAL, label)
        assert (found.positive, found.rate.successes, found.rate.trials) == (positive, 1, 2)


def test_a_sensitivity_that_fell_raises_the_alarm_in_the_order_of_the_draw(database: Engine, bundle: Bundle) -> None:
    keys = [scored(database, bundle, number, () if number % 2 else ("covid19",)) for number in range(60)]
    put_in_order(database, keys)
    said(database, dict.fromkeys(range(30), "covid19"))
    found = rate(performance(database, bundle), "covid19", "covid19").rate
    assert found.alarm_at is not None
    assert found.alarm_at <= 30
    assert rate(performance(database, bundle), "covid19", "normal").rate.alarm_at is None


def test_only_flagged_films_labelled_raise_no_alarm(database: Engine, bundle: Bundle) -> None:
    """Not when they were not drawn, and not when they are all that was read of a draw."""
    flagged = [number for number in range(80) if number % 5 == 0]
    keys = [scored(database, bundle, number, ("covid19",) if number in flagged else ()) for number in range(80)]
    said(database, dict.fromkeys(flagged, "normal"))
    got = performance(database, bundle)
    assert (got.sample.drawn, got.others.labelled) == (0, 16)
    assert not any(one.alarm for one in got.sample.findings)
    put_in_order(database, keys)
    got = performance(database, bundle)
    found = rate(got, "covid19", "normal").rate
    assert (found.successes, found.trials, found.alarm) == (0, 16, False)
    assert not got.sample.complete


def test_the_same_rate_whatever_the_mix_of_labels(database: Engine, bundle: Bundle) -> None:
    """Pneumonias are flagged as COVID-19 more often than normal films: many of them make no alarm by themselves."""
    points = tuple(
        replace(one, flagged_by_label={"normal": (5, 100), "pneumonia": (40, 100), "covid19": (90, 100)})
        for one in bundle.operating_points
    )
    keys = [scored(database, bundle, number, ("covid19",) if number % 5 < 2 else ()) for number in range(100)]
    put_in_order(database, keys)
    said(database, dict.fromkeys(range(100), "pneumonia"))
    got = performance(database, replace(bundle, operating_points=points))
    assert rate(got, "covid19", "pneumonia").rate.value == 0.6
    assert not rate(got, "covid19", "pneumonia").rate.alarm
    mixed = interval(140, 200)  # of 100 normal films and 100 pneumonias: the specificity that was watched before
    assert not mixed[0] <= 0.6 <= mixed[1]


def test_a_reset_begins_anew(database: Engine, bundle: Bundle) -> None:
    for number in range(40):
        scored(database, bundle, number, ())
    first = drawn(database, bundle, 40)
    said(database, {int(one.sop_instance_uid[2:]): "covid19" for one in first.films})
    assert rate(performance(database, bundle), "covid19", "covid19").rate.alarm
    made = reset(database, "a new detector", actor=ACTOR)
    got = performance(database, bundle)
    assert (got.since, got.reason, got.sample.drawn, got.others.labelled) == (made.at, "a new detector", 0, 0)
    assert against_labels(database, None).performance is not None  # so that the night looks, and its alarm ends
    assert not any(one.alarm for one in got.sample.findings)
    scored(database, bundle, 50)
    again = drawn(database, bundle, 40)
    assert [one.sop_instance_uid for one in again.films] == ["1.50"]
    with reading(database) as connection:
        assert len(order_of_draws(connection)) == 1
        assert len(order_of_draws(connection, since_reset=False)) == 41
        (event,) = connection.execute(select(audit_event).where(audit_event.c.action == "labels_reset")).all()
    assert (event.actor, event.detail) == (ACTOR, {"reason": "a new detector"})


def test_a_film_that_is_sent_again_keeps_its_place(database: Engine, bundle: Bundle, tmp_path: Path) -> None:
    key = scored(database, bundle, 1)
    put_in_order(database, [key])
    newest = film(database, uid="1.1", revision=2, flags=("covid19",), digest=bundle.digest, study="1.2.1")
    imported(database, csv(tmp_path, "1.1,,covid19,dr1,2026-11-01"))
    with reading(database) as connection:
        assert order_of_draws(connection) == [newest]
    found = rate(performance(database, bundle), "covid19", "covid19").rate
    assert (found.successes, found.trials) == (1, 1)
