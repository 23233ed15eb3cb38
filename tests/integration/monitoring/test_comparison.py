"""Two bundles compared from the database: which films count, whose truth, and the command's verdict."""

import json
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, insert, select

from model.findings import NOT_NORMAL
from tests.services import typed, typed_in
from worker.db import schema
from worker.db.session import make_engine, writing
from worker.db.tables import deployment, finding_score, instance, label_sample, score, truth
from worker.monitoring.comparison import LabelSource, compare_bundles

LIVE, SHADOW, OTHER = "a" * 64, "b" * 64, "c" * 64
NOW = datetime.now(UTC)
POINT = 0.5


def add_film(connection: Connection, number: int, said: dict[str, float]) -> int:
    """A film and, by digest, the probability of covid19 that a bundle gave it."""
    film = connection.execute(
        insert(instance).returning(instance.c.id),
        {
            "sop_instance_uid": f"1.2.{number}",
            "revision": 1,
            "digest": "0" * 64,
            "size": 1,
            "state": "scored",
            "received_at": NOW,
        }
        | dict.fromkeys(
            ("sop_class_uid", "transfer_syntax_uid", "study_instance_uid", "series_instance_uid", "calling_ae",
             "called_ae", "modality", "body_part", "view_position"), ""
        ),
    ).scalar_one()  # fmt: skip
    for digest, probability in said.items():
        key = connection.execute(
            insert(score).returning(score.c.id),
            {
                "instance_id": film,
                "bundle_digest": digest,
                "role": "live" if digest == LIVE else "shadow",
                "engine": "onnxruntime-0-fp32",
                "software_version": "0",
                "scored_at": NOW,
                "prediction_set": ["covid19" if probability >= POINT else "normal"],
            },
        ).scalar_one()
        for finding, value, point in (("normal", 1 - probability, None), ("covid19", probability, POINT)):
            connection.execute(
                insert(finding_score),
                {
                    "score_id": key,
                    "finding": finding,
                    "logit": 0.0,
                    "probability": value,
                    "operating_point": point,
                    "flag": point is not None and value >= point,
                },
            )
    return int(film)


def add_truth(connection: Connection, number: int, label: str, reader: str = "one") -> None:
    connection.execute(
        insert(truth),
        {
            "sop_instance_uid": f"1.2.{number}",
            "accession_digest": "",
            "reader": reader,
            "label": label,
            "read_on": date(2026, 1, 1),
            "imported_at": NOW,
        },
    )


def add_draw(connection: Connection, films: list[int]) -> None:
    """By instance id."""
    connection.execute(insert(label_sample), [{"draw": "one", "instance_id": film, "drawn_at": NOW} for film in films])


def add_bundle(connection: Connection, digest: str, role: str) -> None:
    values = {"bundle_digest": digest, "name": digest[:3], "version": "1", "path": "/nowhere", "role": role}
    connection.execute(insert(deployment), values | {"changed_at": NOW, "changed_by": "operator:test"})


def test_films_of_both_with_their_truth(database: Engine) -> None:
    with writing(database) as connection:
        add_film(connection, 1, {LIVE: 0.9, SHADOW: 0.9})
        add_film(connection, 2, {LIVE: 0.9, SHADOW: 0.2})
        add_film(connection, 3, {LIVE: 0.1, SHADOW: 0.6, OTHER: 0.6})
        add_film(connection, 4, {LIVE: 0.1, SHADOW: 0.1})
        add_film(connection, 5, {LIVE: 0.1})
        add_film(connection, 6, {SHADOW: 0.1, OTHER: 0.1})
        for number, label in ((1, "covid19"), (2, "covid19"), (3, "normal"), (5, "covid19")):
            add_truth(connection, number, label)
        for reader in ("one", "two"):
            add_truth(connection, 4, {"one": "normal", "two": "covid19"}[reader], reader)
    comparison = compare_bundles(database, LIVE, SHADOW)
    found = comparison.result
    assert (found.films, comparison.truth_films, comparison.disputed_films) == (4, 3, 1)
    assert (found.missed.value, found.missed.n) == (0.2, 5)  # film 5 was scored live, and not by the shadow
    change, truth = found.findings["covid19"], found.truth["covid19"]
    assert change.flags is not None
    assert (change.flags.on, change.flags.off) == (1, 1)
    assert change.shift is not None
    assert (change.shift.mean, change.shift.largest) == (-0.05, -0.7)
    sick, well = truth.by_label["covid19"], truth.by_label["normal"]
    assert [getattr(sick, who).value for who in ("live", "shadow", "lost")] == [1.0, 0.5, 0.5]
    assert [getattr(well, who).value for who in ("live", "shadow", "lost")] == [1.0, 0.0, 1.0]
    assert comparison.engines[SHADOW] == ["onnxruntime-0-fp32"]
    assert set(found.truth) == {"covid19"}
    assert (comparison.labels, comparison.vouched, comparison.drawn_films) == (LabelSource.ALL, False, 0)
    assert compare_bundles(database, LIVE, OTHER).result.films == 1
    assert compare_bundles(database, OTHER, "d" * 64).result.films == 0


def flag_not_normal(connection: Connection, digest: str, *, flag: bool) -> None:
    """As a bundle with that flag leaves it."""
    for key in connection.execute(select(score.c.id).where(score.c.bundle_digest == digest)).scalars().all():
        row = {"score_id": key, "finding": NOT_NORMAL, "logit": 0.0, "probability": 0.9}
        connection.execute(insert(finding_score), row | {"operating_point": 0.5, "flag": flag})


def test_a_flag_of_the_shadow_alone_is_not_compared_and_one_of_live_alone_is_lost(database: Engine) -> None:
    with writing(database) as connection:
        for number in (1, 2):
            add_film(connection, number, {LIVE: 0.9, SHADOW: 0.9, OTHER: 0.9})
        add_truth(connection, 1, "covid19")
        flag_not_normal(connection, SHADOW, flag=True)
        flag_not_normal(connection, OTHER, flag=True)
    alone = compare_bundles(database, LIVE, SHADOW).result
    assert (alone.films, set(alone.findings), alone.films_with_other_flags.value) == (2, {"normal", "covid19"}, 0.0)
    both = compare_bundles(database, SHADOW, OTHER).result
    assert (set(both.findings), both.films_with_other_flags.value) == ({NOT_NORMAL, "normal", "covid19"}, 0.0)
    sick = both.truth[NOT_NORMAL].by_label["covid19"]
    assert (sick.live.value, sick.shadow.value, sick.lost.value) == (1.0, 1.0, 0.0)
    gone = compare_bundles(database, SHADOW, LIVE).result
    assert (gone.films, gone.films_with_other_flags.value) == (2, 1.0)
    assert gone.truth[NOT_NORMAL].by_label["covid19"].lost.value == 1.0


def test_the_random_sample_is_the_truth_where_there_is_one(database: Engine) -> None:
    with writing(database) as connection:
        films = [add_film(connection, number, {LIVE: 0.9, SHADOW: 0.2}) for number in range(6)]
        add_draw(connection, films[:3])
        for number in (0, 1, 4, 5):
            add_truth(connection, number, "covid19")
    comparison = compare_bundles(database, LIVE, SHADOW)
    assert (comparison.labels, comparison.drawn_films, comparison.truth_films) == (LabelSource.SAMPLE, 3, 2)
    every = compare_bundles(database, LIVE, SHADOW, LabelSource.ALL)
    assert (every.labels, every.vouched, every.truth_films) == (LabelSource.ALL, True, 4)
    sampled = {line.criterion: line.state for line in every.result.criteria}["labels of a random sample"]
    assert sampled == "met"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a live bundle, a shadow and 300 films, of which 250 were drawn and read."""
    folder = tmp_path_factory.mktemp("home")
    database = make_engine(f"sqlite:///{folder / 'xrayq.db'}")
    schema.upgrade(database)
    with writing(database) as connection:
        for digest, role in ((LIVE, "live"), (SHADOW, "shadow"), (OTHER, "retired")):
            add_bundle(connection, digest, role)
        films = []
        for number in range(300):
            sick = number % 5 == 0
            said = {LIVE: 0.9, SHADOW: 0.92} if sick else {LIVE: 0.1, SHADOW: 0.08}
            films.append(add_film(connection, number, said | ({OTHER: 0.8} if number < 150 else {})))
            if number < 250:
                add_truth(connection, number, "covid19" if sick else "normal")
        add_draw(connection, films[:250])
    return folder


def compare(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return typed("bundle", "compare", *words, home=str(home))


def test_the_command_takes_those_in_service(home: Path) -> None:
    done = compare(home)
    assert done.returncode == 0, done.stderr
    assert "verdict: promote" in done.stdout
    assert f"xrayq bundle activate {SHADOW[:12]}" in done.stdout
    assert "not a medical device" in done.stdout


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_every_value_is_whole_at_every_width(home: Path, columns: str) -> None:
    with typed_in(home, home=str(home)) as xrayq, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", columns)
        _, out, _ = xrayq("bundle", "compare", LIVE, OTHER)
    assert "…" not in out
    for text in ("normal", "covid19", "+0.7000", "1.000 [0.970, 1.000]", "specificity", "keep"):
        assert text in out


def test_the_command_takes_any_two(home: Path) -> None:
    done = compare(home, LIVE[:6], OTHER[:12], "--json")
    found = json.loads(done.stdout)
    assert (found["live"]["name"], found["shadow"]["name"], found["films"]) == ("aaa", "ccc", 150)
    assert (found["verdict"], "not a medical device" in found["notice"]) == ("keep", True)
    states = {one["criterion"]: one["state"] for one in found["criteria"]}
    assert states["films scored by both"] == "open"
    assert states["films with other flags"] == "broken"
    assert states["specificity of covid19 on normal, lost"] == "broken"
    assert states["sensitivity of covid19 on covid19, lost"] == "open"


@pytest.mark.parametrize(
    ("words", "message"), [(["dddddd", SHADOW], "begins with dddddd"), ([LIVE, "zz"], "begins with zz")]
)
def test_unknown_bundles(home: Path, words: list[str], message: str) -> None:
    done = compare(home, *words)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert message in done.stderr


def test_without_a_draw_nothing_is_promoted_and_the_words_say_what_to_do(tmp_path: Path) -> None:
    database = make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}")
    schema.upgrade(database)
    with writing(database) as connection:
        for digest, role in ((LIVE, "live"), (SHADOW, "shadow")):
            add_bundle(connection, digest, role)
        for number in range(300):
            add_film(connection, number, {LIVE: 0.1, SHADOW: 0.1})
    done = compare(tmp_path)
    assert "verdict: not enough labels" in done.stdout
    assert "labels: none, so nothing is promoted; 'xrayq labels sample" in done.stdout
    with writing(database) as connection:
        for number in range(300):
            add_truth(connection, number, "normal")
    assert "nobody drew these films, so nothing is promoted by them" in compare(tmp_path).stdout
    assert "labels: all, as asked for" in compare(tmp_path, "--labels", "all").stdout
    assert compare(tmp_path, "--labels", "some").returncode == 2


def test_without_a_shadow_both_must_be_named(tmp_path: Path) -> None:
    schema.upgrade(make_engine(f"sqlite:///{tmp_path / 'xrayq.db'}"))
    done = compare(tmp_path)
    assert (done.returncode, "0 shadows are in service" in done.stderr) == (3, True)
