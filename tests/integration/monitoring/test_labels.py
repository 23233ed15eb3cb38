"""Labels into both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select

from model.findings import FINDINGS
from worker.db.pseudonyms import accession_digest, digest_key
from worker.db.session import reading, writing
from worker.db.tables import audit_event, finding_score, instance, score, truth
from worker.errors import LabelsRefused, NotFound
from worker.monitoring.label_sample import COLUMNS as WORKLIST
from worker.monitoring.labels import Imported, import_labels, read_labels, truths
from worker.states import State

HEAD = "sop_instance_uid,accession_number,label,reader,read_on"
NUMBERS: Iterator[int] = count(1)


def film(
    database: Engine,
    *,
    uid: str,
    accession: str = "",
    revision: int = 1,
    flags: tuple[str, ...] | None = None,
    digest: str = "",
    role: str = "live",
    study: str = "1.2",
    findings: tuple[str, ...] = FINDINGS,
    device: str | None = None,
    calling_ae: str = "1.2",
) -> int:
    """An instance, scored when it has flags. Returns its id."""
    now, named = datetime.now(UTC), accession_digest(digest_key(database), accession)
    with writing(database) as connection:
        key = int(
            connection.execute(
                insert(instance).returning(instance.c.id),
                {
                    "sop_instance_uid": uid,
                    "revision": revision,
                    "accession_digest": named,
                    "digest": f"{next(NUMBERS):064}",
                    "size": 1,
                    "state": State.RECEIVED if flags is None else State.SCORED,
                    "received_at": now,
                }
                | dict.fromkeys(("sop_class_uid", "transfer_syntax_uid"), "1.2")
                | {"study_instance_uid": study}
                | dict.fromkeys(("series_instance_uid", "called_ae"), "1.2")
                | {"calling_ae": calling_ae, "modality": "DX", "body_part": "CHEST", "view_position": "PA"},
            ).scalar_one()
        )
        if flags is not None:
            number = connection.execute(
                insert(score).returning(score.c.id),
                {"instance_id": key, "bundle_digest": digest, "role": role, "engine": "test", "scored_at": now}
                | {"software_version": "0", "device": device},
            ).scalar_one()
            rows = [{"score_id": number, "finding": name, "flag": name in flags} for name in findings]
            connection.execute(insert(finding_score), [row | {"logit": 0.0, "probability": 0.5} for row in rows])
    return key


def csv(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / f"labels{next(NUMBERS)}.csv"
    path.write_text("\n".join((head, *rows)) + "\n")
    return path


def imported(database: Engine, path: Path) -> Imported:
    return import_labels(database, path, FINDINGS, "operator:test")


def found(database: Engine) -> dict[int, str | None]:
    with reading(database) as connection:
        return {key: film.label for key, film in truths(connection).items()}


def test_labels_find_films_by_uid_and_by_accession_number(database: Engine, tmp_path: Path) -> None:
    first, second, third = (
        film(database, uid="1.1"),
        film(database, uid="1.2", accession="A7"),
        film(database, uid="1.3"),
    )
    sibling = film(database, uid="1.4", accession="A7")
    path = csv(tmp_path, "1.1,,covid19,dr1,2026-11-01", ",A7,pneumonia,dr1,2026-11-02", "1.9,,normal,dr1,2026-11-02")
    assert imported(database, path).as_dict() == {
        "rows": 3,
        "new": 3,
        "corrected": 0,
        "unchanged": 0,
        "older": 0,
        "without_film": 1,
        "not_read": 0,
    }
    assert found(database) == {first: "covid19", second: "pneumonia", sibling: "pneumonia"}
    assert third not in found(database)
    late = film(database, uid="1.9")
    assert found(database)[late] == "normal"


def test_a_corrected_accession_number_leaves_the_order_it_was_sent_under(database: Engine, tmp_path: Path) -> None:
    film(database, uid="1.1", accession="WRONG")
    corrected = film(database, uid="1.1", accession="RIGHT", revision=2)
    window = film(database, uid="1.1", accession="RIGHT", revision=3)
    imported(database, csv(tmp_path, ",WRONG,covid19,dr1,2026-11-05", ",RIGHT,normal,dr2,2026-11-01"))
    assert corrected != window
    assert found(database) == {window: "normal"}


def test_the_same_file_again_changes_nothing(database: Engine, tmp_path: Path) -> None:
    path = csv(tmp_path, "1.1,,covid19,dr1,2026-11-01", ",A7,pneumonia,dr1,2026-11-02")
    imported(database, path)
    again = imported(database, path)
    assert (again.new, again.corrected, again.unchanged) == (0, 0, 2)
    with reading(database) as connection:
        assert len(connection.execute(select(truth.c.id)).all()) == 2
        (event,) = connection.execute(select(audit_event)).all()
    assert (event.action, event.actor, event.detail["new"]) == ("labels_imported", "operator:test", 2)


def test_a_later_reading_corrects_and_an_older_one_does_not(database: Engine, tmp_path: Path) -> None:
    key = film(database, uid="1.1")
    imported(database, csv(tmp_path, "1.1,,covid19,dr1,2026-11-05"))
    assert imported(database, csv(tmp_path, "1.1,,normal,dr1,2026-11-04")).older == 1
    assert found(database) == {key: "covid19"}
    assert imported(database, csv(tmp_path, "1.1,,pneumonia,dr1,2026-11-06")).corrected == 1
    assert found(database) == {key: "pneumonia"}


def test_the_majority_of_readers_is_the_truth(database: Engine, tmp_path: Path) -> None:
    key = film(database, uid="1.1", accession="A1")
    imported(database, csv(tmp_path, "1.1,,covid19,dr1,2026-11-05", "1.1,,normal,dr2,2026-11-05"))
    assert found(database) == {key: None}
    imported(database, csv(tmp_path, ",A1,normal,dr3,2026-11-05", ",A1,normal,dr2,2026-11-06"))
    assert found(database) == {key: "normal"}  # dr2 counts once, though two rows name the film


def test_truth_is_of_the_newest_revision(database: Engine, tmp_path: Path) -> None:
    film(database, uid="1.1")
    newest = film(database, uid="1.1", revision=2)
    imported(database, csv(tmp_path, "1.1,,covid19,dr1,2026-11-05"))
    assert found(database) == {newest: "covid19"}


TOMORROW = (datetime.now(UTC).date() + timedelta(days=2)).isoformat()
FAULTS = {
    "both names": ("1.1,A1,normal,dr1,2026-11-01", "line 2: fill sop_instance_uid or accession_number"),
    "no name": (",,normal,dr1,2026-11-01", "line 2: fill sop_instance_uid or accession_number"),
    "no UID": ("1.x,,normal,dr1,2026-11-01", "line 2: sop_instance_uid is no UID"),
    "no finding": ("1.1,,tb,dr1,2026-11-01", "line 2: label is not one of normal, pneumonia, covid19"),
    "no reader": ("1.1,,normal,,2026-11-01", "line 2: reader is empty"),
    "long reader": (f"1.1,,normal,{'r' * 65},2026-11-01", "line 2: reader is longer than 64"),
    "no date": ("1.1,,normal,dr1,1.11.2026", "line 2: read_on is not a date"),
    "future": (f"1.1,,normal,dr1,{TOMORROW}", "line 2: read_on lies in the future"),
    "short row": ("1.1,,normal", "line 2: reader is empty"),
    "no film and no reading": (",,,,", "line 2: fill sop_instance_uid or accession_number"),
}


@pytest.mark.parametrize(("row", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_named_by_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(LabelsRefused, match="nothing imported") as caught:
        read_labels(csv(tmp_path, row), FINDINGS, b"key")
    assert message in str(caught.value)


def test_one_fault_keeps_the_whole_file_out_and_no_content_is_told(database: Engine, tmp_path: Path) -> None:
    path = csv(tmp_path, "1.1,,covid19,dr1,2026-11-01", ",SECRET7,tb,dr1,2026-11-01", "1.1,,normal,dr1,2026-11-03")
    with pytest.raises(LabelsRefused) as caught:
        imported(database, path)
    assert caught.value.faults == [
        "line 3: label is not one of normal, pneumonia, covid19",
        "line 4: the same film and reader stand in a line before",
    ]
    assert "SECRET7" not in str(caught.value)
    assert found(database) == {}


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file"):
        read_labels(tmp_path / "none.csv", FINDINGS, b"key")
    with pytest.raises(LabelsRefused, match="needs the columns"):
        read_labels(csv(tmp_path, "1", head="label"), FINDINGS, b"key")
    (tmp_path / "image.csv").write_bytes(bytes(range(256)))
    with pytest.raises(LabelsRefused, match="not a CSV in UTF-8"):
        read_labels(tmp_path / "image.csv", FINDINGS, b"key")


def test_a_worklist_comes_back_half_filled(database: Engine, tmp_path: Path) -> None:
    key = film(database, uid="1.1")
    rows = csv(tmp_path, "1.1,1.2,x,normal,dr1,2026-11-01", "1.2,1.2,x,,,", head=",".join(WORKLIST))
    done = imported(database, rows)
    assert (done.rows, done.new, done.not_read) == (1, 1, 1)
    assert found(database) == {key: "normal"}
