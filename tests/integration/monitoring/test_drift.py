"""Drift on both databases: references that are frozen once and audited, and the day that is held beside them."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select, update

from model.json_value import plain
from model.pages.html import page
from model.preprocess import PreprocessSpec
from tests.night_reports import GOOD, stood
from tests.nights import BUNDLE, DEVICES, FINDINGS, Films, day, draw, how_many, keep
from tests.phantoms import chest_pixels, write_film
from tests.services import typed_in
from worker.alarms import ledger, night_rules
from worker.alarms.rules import Condition
from worker.audit import trail
from worker.db import film_measures, schema
from worker.db.film_measures import Key
from worker.db.session import make_engine, reading, writing
from worker.db.span import Span
from worker.db.tables import audit_event, finding_score, instance, score
from worker.db.tables import drift_reference as rows_of_references
from worker.errors import NotFound
from worker.monitoring import drift_reference
from worker.monitoring.drift import evaluate
from worker.monitoring.drift_result import LEAST_OUTSIDE, DriftOptions, DriftResult
from worker.nightly import operations
from worker.nightly.films import distributions
from worker.nightly.page.drift import section
from worker.scoring.decoding import decode_film

CR1, CR2 = (device for device in DEVICES if device.ae in ("CR1", "CR2"))
OPTIONS = DriftOptions(reference_films=300, least_films=50, alpha=0.001, psi=0.1)
MEASURES = (*film_measures.INPUTS, "distance", *(f"probability:{name}" for name in FINDINGS))


@pytest.fixture
def references(database: Engine) -> list[drift_reference.Reference]:
    """Of CR1 and CR2, 300 films each, from day 0 alone; 40 films came after them."""
    random = np.random.default_rng(1)
    for device in (CR1, CR2):
        keep(database, device.ae, day(0), draw(device, 340, random))
    return drift_reference.freeze_missing(database, day(0), films=300, actor="night")


def evaluated(database: Engine, number: int) -> DriftResult:
    with reading(database) as connection:
        return evaluate(connection, day(number), OPTIONS)


def alarms(found: DriftResult) -> set[str]:
    return {test.calling_ae for test in found.alarms}


def films_tested(found: DriftResult, ae: str, measure: str = "brightness") -> list[tuple[int, int]]:
    return [(test.films, test.days) for test in found.tests if (test.calling_ae, test.measure) == (ae, measure)]


def drift_conditions(found: DriftResult) -> list[Condition]:
    return night_rules.conditions(replace(GOOD, drift=found).facts)


def test_the_first_films_are_frozen_once_and_audited(
    database: Engine, references: list[drift_reference.Reference]
) -> None:
    assert {(one.key.calling_ae, one.key.measure, one.films) for one in references} == {
        (ae, measure, 300) for ae in ("CR1", "CR2") for measure in MEASURES
    }
    assert {one.key.bundle_digest for one in references if one.key.measure in film_measures.INPUTS} == {""}
    assert references[0].last_received_at < day(0).start + timedelta(hours=22)
    with reading(database) as connection:
        events = connection.execute(select(audit_event).order_by(audit_event.c.id)).all()
        audited = drift_reference.audited_digests(connection)
        digests = {
            one.key: drift_reference.sample_digest(drift_reference.sample_of(connection, one.key)) for one in references
        }
    assert [(event.action, event.detail["calling_ae"], event.detail["bundle"]) for event in events] == [
        ("reference_frozen", ae, bundle) for ae in ("CR1", "CR2") for bundle in ("", BUNDLE)
    ]
    assert audited == digests
    assert trail.verify(database).rows == len(events)

    keep(database, "CR1", day(1), draw(CR1, 340, np.random.default_rng(2)))
    assert drift_reference.freeze_missing(database, day(1), films=300, actor="night") == []


def test_too_few_films_wait_for_their_reference(database: Engine) -> None:
    random = np.random.default_rng(3)
    keep(database, "CR1", day(0), draw(CR1, 299, random))
    keep(database, "CR1", day(1), draw(CR1, 50, random))
    assert drift_reference.freeze_missing(database, day(0), films=300, actor="night") == []
    assert {left.why for left in evaluated(database, 0).untested} == {"no reference yet: it is frozen with 300 films"}
    assert {one.films for one in drift_reference.freeze_missing(database, day(1), films=300, actor="night")} == {300}


def test_a_study_counts_once(database: Engine) -> None:
    films = draw(CR1, 120, np.random.default_rng(4))
    keep(database, "CR1", day(0), films, studies=[f"1.5.{number // 2}" for number in range(120)])
    with reading(database) as connection:
        values = list(film_measures.of_pixels(connection)) + list(film_measures.of_scores(connection))
    of_brightness = [value for key, _, value in values if key.measure == "brightness"]
    assert of_brightness == films.pixels["brightness"][::2].tolist()
    assert len(values) == 60 * len(MEASURES)


def test_films_without_a_study_count_each(database: Engine) -> None:
    keep(database, "CR1", day(0), draw(CR1, 20, np.random.default_rng(4)), studies=[""] * 20)
    with reading(database) as connection:
        values = list(film_measures.of_pixels(connection)) + list(film_measures.of_scores(connection))
    assert len(values) == 20 * len(MEASURES)


def test_a_large_sample_is_drawn_down_the_same_way_each_time(database: Engine) -> None:
    keep(database, "CR1", day(0), draw(CR1, 2500, np.random.default_rng(5)))
    digests = []
    for _ in range(2):
        made = drift_reference.freeze(database, "CR1", day(0), actor="operator:test")
        with reading(database) as connection:
            sample = drift_reference.sample_of(connection, made[0].key)
        assert (made[0].films, len(sample), sample) == (2500, 2000, sorted(sample))
        digests.append(drift_reference.sample_digest(sample))
    assert digests[0] == digests[1]


def test_one_device_becomes_brighter(database: Engine, references: list[drift_reference.Reference]) -> None:
    """By .05 of the display range; a film of CR1 scatters by .07. The other device, and the scores, stay."""
    random = np.random.default_rng(6)
    keep(database, "CR1", day(1), draw(CR1, 100, random, brighter=0.05))
    keep(database, "CR2", day(1), draw(CR2, 100, random))
    found = evaluated(database, 1)
    assert {(test.calling_ae, test.measure) for test in found.alarms} == {("CR1", "brightness")}
    assert len(found.tests) == 2 * len(MEASURES)
    (alarm,) = drift_conditions(found)
    assert (alarm.rule, alarm.subject, alarm.threshold) == ("drift", "CR1", 0.1)
    assert alarm.value > 0.1
    (brightness,) = found.alarms
    assert brightness.median - brightness.reference_median == pytest.approx(0.05, abs=0.02)
    medians = [f"{median:.3g}" for median in (brightness.median, brightness.reference_median)]
    assert "brightness {} of the display range (reference median {})".format(*medians) in alarm.text
    json.dumps(plain(found))


def test_a_few_wrong_films_among_many_right_ones(database: Engine, references: list[drift_reference.Reference]) -> None:
    """Twelve of 100 films are black. The distribution hardly moves; the share outside the usual range does."""
    random = np.random.default_rng(16)
    films = draw(CR1, 100, random)
    films.pixels["brightness"][:12] = 0.01
    keep(database, "CR1", day(1), films)
    keep(database, "CR2", day(1), draw(CR2, 100, random))
    found = evaluated(database, 1)
    (test,) = found.alarms
    assert (test.calling_ae, test.measure, test.moved, test.outliers) == ("CR1", "brightness", False, True)
    assert test.note == "outliers"
    assert test.outside == pytest.approx(0.12, abs=0.03)
    (alarm,) = drift_conditions(found)
    assert (alarm.rule, alarm.subject, alarm.threshold) == ("drift", "CR1", LEAST_OUTSIDE)
    assert alarm.value > LEAST_OUTSIDE
    low, high = test.usual
    assert f"% of the films lie outside {low:.3g} to {high:.3g} of the display range, by chance 0.7%" in alarm.text
    assert plain(found)["tests"][0]["alarm"] is True
    written = page("test", "test", section(replace(GOOD, drift=found)))
    assert "Drift in 1 of 2 sending AEs. CR1: brightness." in written
    assert "of films outside its usual range" in written


def test_a_score_that_is_no_number_stops_neither_the_night_nor_a_reference(database: Engine) -> None:
    """Of the measure that has it, a reason is shown; all others are tested. A reference is frozen without it."""
    random = np.random.default_rng(17)

    def spoil(number: int) -> None:
        with writing(database) as connection:
            of_day = select(score.c.id).join(instance, score.c.instance_id == instance.c.id)
            first = connection.execute(
                of_day.where(day(number).covers(instance.c.received_at)).order_by(instance.c.id).limit(1)
            ).scalar_one()
            wanted = (finding_score.c.score_id == first) & (finding_score.c.finding == FINDINGS[0])
            connection.execute(update(finding_score).where(wanted).values(probability=float("inf")))

    keep(database, "CR1", day(0), draw(CR1, 341, random))
    spoil(0)
    drift_reference.freeze_missing(database, day(0), films=300, actor="night")
    with reading(database) as connection:
        sample = drift_reference.sample_of(connection, Key("CR1", f"probability:{FINDINGS[0]}", BUNDLE))
    assert len(sample) == 300
    assert np.isfinite(sample).all()
    keep(database, "CR1", day(1), draw(CR1, 100, random))
    spoil(1)
    found = evaluated(database, 1)
    (left,) = found.untested
    assert (left.measure, left.films) == (f"probability:{FINDINGS[0]}", 100)
    assert left.why == "1 of 100 films have values that are not finite numbers"
    assert {test.measure for test in found.tests} == set(MEASURES) - {left.measure}
    with reading(database) as connection:
        spread = {one.finding: sum(one.counts) for one in distributions(connection, day(1))}
    assert spread == {name: 100 - (name == FINDINGS[0]) for name in FINDINGS}


def test_films_of_the_reference_are_not_held_beside_it(
    database: Engine, references: list[drift_reference.Reference]
) -> None:
    """Of the 340 of day 0, only 40 came after it: too few, and the week has no more."""
    found = evaluated(database, 0)
    assert found.tests == ()
    assert {(left.films, left.days, left.why) for left in found.untested} == {
        (40, 7, "too few films: 40 of 50 needed, in 7 days")
    }


def test_few_films_of_a_day_are_tested_with_the_week(
    database: Engine, references: list[drift_reference.Reference]
) -> None:
    random = np.random.default_rng(7)
    for number in (6, 7, 8):
        keep(database, "CR1", day(number), draw(CR1, 30, random))
    keep(database, "CR2", day(8), draw(CR2, 60, random))
    assert films_tested(evaluated(database, 8), "CR1") == [(90, 7)]
    assert films_tested(evaluated(database, 8), "CR2") == [(60, 1)]
    assert films_tested(evaluated(database, 14), "CR1") == []
    silent = [left.why for left in evaluated(database, 20).untested if left.calling_ae == "CR1"]
    assert silent == ["too few films: 0 of 50 needed, in 7 days"] * len(film_measures.INPUTS)


def test_an_alarm_stands_until_its_ae_is_tested_without_drift_or_is_gone(
    database: Engine, references: list[drift_reference.Reference]
) -> None:
    """A device that is under repair is not mended by its silence."""
    random = np.random.default_rng(8)
    keep(database, "CR1", day(8), draw(DEVICES[0], 120, random, brighter=0.2))
    keep(database, "CR2", day(8), draw(DEVICES[1], 120, random, brighter=0.2))
    keep(database, "CR2", day(16), draw(DEVICES[1], 120, random))

    def night(number: int) -> list[tuple[str, str]]:
        found = evaluated(database, number)
        with writing(database) as connection:
            sources = operations.sources(connection, day(number))
            open_now = tuple(stood(*place, "") for place in ledger.open_alarms(connection))
            report = replace(GOOD, drift=found, sources=sources, alarms=open_now)
            broken = night_rules.conditions(report.facts)
            looked_at = night_rules.looked_at(report.facts)
            changes = ledger.settle(connection, looked_at, broken, (), night_rules.gone(report.facts))
        return [(one.subject, one.state) for one in changes]

    assert night(8) == [("CR1", "raised"), ("CR2", "raised")]
    assert [night(number) for number in (14, 15)] == [[], []]
    assert night(16) == [("CR2", "cleared")]
    assert night(36) == []
    assert night(37) == [("CR1", "cleared")]


def test_another_bundle_is_not_held_beside_the_reference_of_the_first(
    database: Engine, references: list[drift_reference.Reference]
) -> None:
    random, other = np.random.default_rng(8), "c" * 64
    keep(database, "CR1", day(1), draw(CR1, 100, random), bundle=other)
    found = evaluated(database, 1)
    assert {test.measure for test in found.tests} == set(film_measures.INPUTS)
    stale = [left for left in found.untested if left.calling_ae == "CR1"]
    assert {(left.measure, left.bundle) for left in stale} == {
        (measure, other) for measure in set(MEASURES) - set(film_measures.INPUTS)
    }
    assert all(left.why.startswith("another bundle scores than the reference is of") for left in stale)

    keep(database, "CR1", day(2), draw(CR1, 300, random), bundle=other)
    made = drift_reference.freeze_missing(database, day(2), films=300, actor="night")
    assert {one.key for one in made} == {Key("CR1", left.measure, other) for left in stale}
    keep(database, "CR1", day(3), draw(CR1, 100, random), bundle=other)
    assert len([test for test in evaluated(database, 3).tests if test.calling_ae == "CR1"]) == len(MEASURES)


def test_an_operator_replaces_a_reference(database: Engine, references: list[drift_reference.Reference]) -> None:
    random = np.random.default_rng(9)
    keep(database, "CR1", day(5), draw(CR1, 150, random, brighter=0.05))
    keep(database, "CR1", day(6), draw(CR1, 100, random, brighter=0.05))
    assert alarms(evaluated(database, 6)) == {"CR1"}
    with reading(database) as connection:
        old = drift_reference.audited_digests(connection)
    made = drift_reference.freeze(database, "CR1", day(5), actor="operator:test")
    assert {(one.key.measure, one.films) for one in made} == {(measure, 150) for measure in MEASURES}
    assert alarms(evaluated(database, 6)) == set()
    with reading(database) as connection:
        event = connection.execute(select(audit_event).order_by(audit_event.c.id.desc())).first()
        new = drift_reference.audited_digests(connection)
    assert event is not None
    assert event.actor == "operator:test"
    for measure, one in event.detail["measures"].items():
        key = Key("CR1", measure, event.detail["bundle"])
        assert (one["old"], one["digest"]) == (old[key], new[key])
    with pytest.raises(NotFound, match="CR1 has 0 measured films"):
        drift_reference.freeze(database, "CR1", day(9), actor="operator:test")


@pytest.mark.slow
def test_thirty_quiet_nights(tmp_path: Path) -> None:
    """Five devices that differ, with skewed, tied and related measures: about a thousand tests, and no alarm, though a
    bare limit on PSI or on p-values would have raised one on nearly every night."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    random = np.random.default_rng(10)
    for device in DEVICES:
        keep(database, device.ae, Span(start=day(-40).start, end=day(0).start), draw(device, 300, random))
    drift_reference.freeze_missing(database, Span(start=day(-40).start, end=day(0).start), films=300, actor="night")
    tests, raised, by_psi, by_p = 0, 0, 0, 0
    for number in range(30):
        for device in DEVICES:
            keep(database, device.ae, day(number), draw(device, how_many(device, number, random), random))
        found = evaluated(database, number)
        tests, raised = tests + len(found.tests), raised + len(drift_conditions(found))
        by_psi += any(test.psi >= OPTIONS.psi for test in found.tests)
        by_p += any(test.p <= 0.05 for test in found.tests)
    database.dispose()
    assert tests > 30 * 4 * len(MEASURES)
    assert raised <= 1
    assert by_psi > 20
    assert by_p > 10


def test_pixels_that_become_brighter(tmp_path: Path) -> None:
    """DICOM films under one window, decoded as the worker does it; 120 as they were, then 100 with 3 % added."""
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    random = np.random.default_rng(11)
    spec = PreprocessSpec(size=64)
    base = chest_pixels(rows=96, columns=80)

    def decoded(number: int, brighter: float) -> Films:
        measured = []
        for at in range(number):
            pixels = np.clip(base * random.normal(0.8, 0.03) + 4095 * brighter, 0, 4095).astype(np.uint16)
            film = write_film(tmp_path, f"film{at}", pixels=pixels, WindowCenter=2048, WindowWidth=4096)
            quality = decode_film(str(film), spec, 1 << 20).quality
            assert quality is not None
            measured.append(quality.as_dict())
        return Films(pixels={name: np.array([one[name] for one in measured]) for name in film_measures.INPUTS})

    keep(database, "CR1", day(0), decoded(120, 0.0))
    drift_reference.freeze(database, "CR1", day(0), actor="operator:test")
    keep(database, "CR1", day(1), decoded(100, 0.0))
    keep(database, "CR1", day(2), decoded(100, 0.03))
    assert alarms(evaluated(database, 1)) == set()
    changed = {test.measure: test for test in evaluated(database, 2).alarms}["brightness"]
    assert changed.median - changed.reference_median == pytest.approx(0.03, abs=0.005)
    database.dispose()


def test_the_section_says_what_drifted(database: Engine, references: list[drift_reference.Reference]) -> None:
    random = np.random.default_rng(12)
    keep(database, "CR1", day(1), draw(CR1, 100, random, brighter=0.05))
    keep(database, "CR2", day(1), draw(CR2, 5, random))
    written = page("test", "test", section(replace(GOOD, drift=evaluated(database, 1))))
    assert "Drift in 1 of 1 sending AEs. CR1: brightness." in written
    assert written.count("<img ") == written.count(' alt="') == 2
    assert "What drifted, medians: CR1 brightness" in written
    assert "brightness, of the display range" in written
    assert "three pseudo-films" in written
    assert "CR2, all: too few films: 45 of 50 needed, in 7 days." in written
    quiet = page("test", "test", section(replace(GOOD, drift=evaluated(database, 30))))
    assert "Nothing was tested" in quiet


def test_the_commands(tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    random = np.random.default_rng(13)
    keep(database, "[CR1]", day(0), draw(CR1, 150, random))
    keep(database, "[CR1]", day(1), draw(CR1, 100, random, brighter=0.05))
    first, second = (day(number).start.date().isoformat() for number in (0, 1))
    with typed_in(tmp_path, home=str(tmp_path)) as xrayq:
        dates = ("--from", first, "--to", first)
        code, told, _ = xrayq("drift", "freeze", "--ae", "[CR1]", *dates)
        assert (code, told.count("150 films")) == (0, len(MEASURES))
        code, _, error = xrayq("drift", "freeze", "--ae", "CR9", *dates)
        assert (code, "a reference needs 100" in error) == (3, True)
        code, _, error = xrayq("drift", "freeze", "--ae", "CR9", "--from", second, "--to", first)
        assert (code, "--to is a day before --from" in error) == (2, True)
        code, told, _ = xrayq("drift", "show", "--date", second)
        (line,) = (line for line in told.splitlines() if "DRIFT" in line)
        assert (code, told.splitlines()[0]) == (0, f"Films of {second} (UTC)")
        assert "[CR1]" in line
        assert "brightness" in line
        code, told, _ = xrayq("drift", "show", "--date", first, "--json")
        assert (code, json.loads(told)["tests"], len(json.loads(told)["frozen"])) == (0, [], len(MEASURES))
        code, told, _ = xrayq("drift", "show", "--date", "last week")
        assert code == 2
        code, told, _ = xrayq("drift", "references")
        assert (code, told.count("as audited"), "NOT" in told) == (0, len(MEASURES), False)
        with writing(database) as connection:
            connection.execute(
                update(rows_of_references).where(rows_of_references.c.measure == "contrast").values(sample=[0.5])
            )
        code, told, _ = xrayq("drift", "references", "--json")
        assert [one["measure"] for one in json.loads(told) if not one["as_audited"]] == ["contrast"]
    database.dispose()
