"""What is in a pack, made of films that went the whole way."""

import hashlib
import json
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from pydicom import dcmread
from sqlalchemy import Engine, delete, insert, select, text, update

from model.bundle import REFERENCE, Bundle
from tests.integration.evidence.hospital import ACCESSION, STUDY, Hospital, hospital, score, score_and_send
from tests.services import tool
from worker.db.session import database_time, reading, writing
from worker.db.tables import alarm, audit_event, deployment, finding_score, instance, sent_object
from worker.db.tables import score as score_table
from worker.evidence.films import find
from worker.evidence.verify import verify


def entries(pack: Path) -> dict[str, bytes]:
    with ZipFile(pack) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def said(pack: Path, name: str) -> Any:
    return json.loads(entries(pack)[name])


def test_a_pack_has_everything_of_the_study(pack: Path, bundle: Bundle) -> None:
    found = entries(pack)
    manifest = json.loads(found["manifest.json"])
    assert [(film["instance"], film["revision"], film["state"]) for film in manifest["films"]] == [
        (1, 1, "reported"),
        (3, 2, "reported"),
        (4, 1, "ineligible"),
    ]
    assert (manifest["site"], manifest["asked_for"]) == ("St. Test", "study")
    assert {"xrayq", "python", "onnxruntime", "pydicom"} <= {name for name, of in manifest["versions"].items() if of}
    assert manifest["audit_trail"] | {"rows": 0, "head": ""} == {
        "whole": True, "rows": 0, "head": "", "broken_row": None,
        "scores_checked": 6, "scores_before": 0, "scores_wrong": 0,
    }  # fmt: skip
    for key in (1, 3):
        events = [json.loads(line) for line in found[f"film-{key}/trail.jsonl"].splitlines()]
        assert [event["action"] for event in events][1:] == ["scored", "shadow_scored", "result_sent", "reported"]
        score = found[f"film-{key}/score-1.json"]
        assert events[1]["detail"]["score"] == hashlib.sha256(score).hexdigest()
        assert all(finding["logit"] for finding in json.loads(score)["findings"].values())
        assert [again["agrees"] for again in json.loads(found[f"film-{key}/replay.json"])] == [True, True]
        objects = json.loads(found[f"film-{key}/results.json"])
        assert [sent["same_bytes"] for made in objects for sent in made["sent"]] == [True, True]
        deliveries = json.loads(found[f"film-{key}/deliveries.json"])
        assert ([one["state"] for one in deliveries["sent"]], deliveries["not_sent"]) == (["sent"], [])
        delivered = deliveries["sent_object"]
        assert {name for row in delivered for name in row} == set(sent_object.c.keys())
        assert hashlib.sha256(found[f"film-{key}/film.dcm"]).hexdigest() == events[0]["detail"]["digest"]
    assert json.loads(found["film-1/film.json"])["measures"]["brightness"] > 0
    (made,) = json.loads(found["film-4/results.json"])
    assert made["sent"][0]["same_bytes"] is True
    assert len(manifest["bundles"]) == 2
    assert hashlib.sha256(found[f"bundle-{bundle.digest[:12]}/manifest.json"]).hexdigest() == bundle.digest
    assert stat.S_IMODE(pack.stat().st_mode) == 0o600


def test_nobody_else_and_no_patient_outside_of_the_objects(pack: Path, studied: Hospital) -> None:
    with reading(studied.database) as connection:
        other = connection.execute(select(instance).where(instance.c.id == 2)).one()
        own = connection.execute(select(instance.c.accession_digest).where(instance.c.id == 1)).scalar_one()
        events = connection.execute(select(audit_event.c.detail).where(audit_event.c.instance_id == 2)).scalars()
        digests = [str(event[name]) for event in events for name in ("score", "digest") if name in event]
    found = entries(pack)
    for word in (other.sop_instance_uid, other.digest, "Other", *digests):
        assert not [name for name, content in found.items() if word.encode() in content], word
    for word in ("Secret", "PID-SECRET", ACCESSION, own):
        named = {name for name, content in found.items() if word.encode() in content}
        assert all(name.endswith(".dcm") for name in named), (word, named)
    assert b"Secret" in found["film-1/film.dcm"]


def test_the_same_pack_again_differs_in_its_time_alone(pack: Path, studied: Hospital, tmp_path: Path) -> None:
    before, again = entries(pack), entries(studied.pack(STUDY, tmp_path / "again.zip", "--with-film"))
    assert list(before) == list(again)
    changed = {name for name in before if before[name] != again[name]}
    assert changed <= {"settings.json", "manifest.json", "manifest.sig"}


@pytest.mark.parametrize(
    ("name", "films"),
    [("1", [1, 3]), ("3", [1, 3]), (STUDY, [1, 3, 4]), (ACCESSION, [1, 3, 4]), ("uid of 4", [4])],
)
def test_what_a_name_finds(name: str, films: list[int], studied: Hospital) -> None:
    if name == "uid of 4":
        with reading(studied.database) as connection:
            name = connection.execute(select(instance.c.sop_instance_uid).where(instance.c.id == 4)).scalar_one()
    assert list(find(studied.database, name).films) == films


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("4",), 2, "4 is instance id and Accession Number: say which, --by instance or --by accession"),
        (("ACC-NONE",), 3, "no film has 'ACC-NONE'"),
        (("",), 3, "no film has ''"),
        (("1", "--by", "patient"), 2, "--by is one of instance, film, study, accession"),
    ],
)
def test_a_name_that_finds_no_film_or_several(
    words: tuple[str, ...], code: int, message: str, studied: Hospital
) -> None:
    done = studied.xrayq("evidence", "make", *words)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert message in done.stderr


def test_a_number_that_is_two_things_with_by(studied: Hospital, tmp_path: Path) -> None:
    found = said(studied.pack("4", tmp_path / "pack.zip", "--by", "accession"), "manifest.json")
    assert [film["instance"] for film in found["films"]] == [2]


def test_the_commands_of_its_readme(pack: Path, tmp_path: Path) -> None:
    """As they stand there, in a folder that the pack was unpacked into."""
    tool("openssl", "openssl")
    with ZipFile(pack) as opened:
        opened.extractall(tmp_path)
    lines = (tmp_path / "README.txt").read_text().splitlines()
    commands = [line.strip() for line in lines if line.startswith(("  openssl", "  awk", "  sed", "  sha2"))]
    assert len(commands) == 5
    (made,) = said(pack, "film-4/results.json")
    tail = next(line.strip() for line in lines if line.startswith("  tail"))
    tail = tail.replace("OFFSET", str(made["data_set_offset"] + 1)).replace("film-1/result-1.dcm", made["file"])
    out = []
    for command in [*commands, tail]:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        out.append(done.stdout)
    manifest = said(pack, "manifest.json")
    assert out[0].split()[0] == manifest["key"]["fingerprint"]
    assert "Signature Verified Successfully" in out[1]
    assert out[2].count(": OK") == len(manifest["files"])
    assert out[3].split()[0] == said(pack, "film-1/trail.json")["rows"][0]["digest"]
    assert f'"score":"{out[4].split()[0]}"' in out[4]
    assert out[5].split()[0] == made["sent"][0]["data_set_digest"]


def test_an_object_is_what_the_pacs_got(pack: Path, tmp_path: Path) -> None:
    for name, content in entries(pack).items():
        if "/result-" in name:
            (tmp_path / "object.dcm").write_bytes(content)
            read = dcmread(tmp_path / "object.dcm")
            made = {one["file"]: one["sop_instance_uid"] for one in said(pack, f"{name.split('/')[0]}/results.json")}
            assert made[name] == read.SOPInstanceUID
            assert read.PatientID == "PID-SECRET"


def test_alarms_of_its_day_without_their_texts(copy: Hospital, tmp_path: Path) -> None:
    with writing(copy.database) as connection:
        now = database_time(connection)
        row = {
            "rule": "backlog",
            "subject": "",
            "value": 700.0,
            "threshold": 600.0,
            "text": "film 2 waits",
            "about": ["2"],
        }
        connection.execute(insert(alarm).values(row | {"raised_at": now}))
        long_ago = {"raised_at": now.replace(year=2020), "cleared_at": now.replace(year=2021), "rule": "drift"}
        connection.execute(insert(alarm).values(row | long_ago))
    (day,) = said(copy.pack("4", tmp_path / "pack.zip", "--by", "instance"), "film-4/alarms.json")
    assert [(one["rule"], one["value"]) for one in day["alarms"]] == [("backlog", 700.0)]
    assert "film 2" not in json.dumps(day)


# what is not there any more


def test_a_film_that_is_gone(copy: Hospital, tmp_path: Path) -> None:
    for film in (copy.home / "spool").glob("*/*.dcm"):
        film.unlink()
    check = verify(copy.pack("1", tmp_path / "pack.zip", "--with-film"))
    assert check.whole, check.faults
    for words in ("film 1: the film", "was not computed again: the film", "is not in the pack: the film is not in the"):
        assert any(words in remark for remark in check.remarks), (words, check.remarks)


def test_a_bundle_that_is_gone(copy: Hospital, tmp_path: Path) -> None:
    """It was live by the settings alone, which name another now."""
    bundle = str(copy.bundle.path)
    elsewhere = str(REFERENCE)
    done = copy.xrayq("evidence", "make", "1", "--out", str(tmp_path / "without.zip"), bundle=elsewhere)
    assert done.returncode == 0, done.stderr
    check = verify(tmp_path / "without.zip")
    assert check.whole, check.faults
    gone = copy.bundle.digest[:12]
    assert f"the pack has no manifest of bundle {gone}: bundle {gone} is in no row and in no setting" in check.remarks
    assert not any(made["file"] for made in said(tmp_path / "without.zip", "film-1/results.json"))
    done = copy.xrayq(
        "evidence", "make", "1", "--out", str(tmp_path / "with.zip"), "--bundle", bundle, bundle=elsewhere
    )
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "with.zip").remarks == ()


def test_a_bundle_that_was_activated_once_and_is_gone(copy: Hospital, tmp_path: Path) -> None:
    """The report is made all the same, with the same bytes: it needs the bundle's name alone."""
    with writing(copy.database) as connection:
        row = {"bundle_digest": copy.bundle.digest, "name": copy.bundle.name, "version": copy.bundle.version}
        of_then = {"path": "/gone", "role": "retired", "changed_by": "operator:test"}
        connection.execute(insert(deployment).values(row | of_then | {"changed_at": database_time(connection)}))
    check = verify(copy.pack("1", tmp_path / "pack.zip"))
    assert check.whole, check.faults
    for key in (1, 3):
        report, picture = said(tmp_path / "pack.zip", f"film-{key}/results.json")
        assert report["sent"][0]["same_bytes"] is True
        assert (picture["file"], picture["why_not"][:30]) == (None, "the bundle that scored the fil")


def test_another_release_makes_other_bytes(copy: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of another library, here of another name of ours in the objects. The pack says so, and is whole."""
    monkeypatch.setattr("dicom_gateway.structured_report.MAKER", "another release")
    check = verify(copy.pack("1", tmp_path / "pack.zip"))
    assert check.whole, check.faults
    assert sum("was made anew and has other bytes than were sent to" in remark for remark in check.remarks) == 2


# what was altered in the database


def altered_row(site: Hospital, action: str, **values: Any) -> None:
    with writing(site.database) as connection:
        which = (audit_event.c.instance_id == 1) & (audit_event.c.action == action)
        connection.execute(update(audit_event).where(which).values(**values))


def altered_score(site: Hospital) -> None:
    with writing(site.database) as connection:
        connection.execute(update(finding_score).values(probability=finding_score.c.probability + 0.001))


def unreadable_scores(site: Hospital) -> None:
    with writing(site.database) as connection:
        connection.execute(text("UPDATE score SET scored_at = 'yesterday'"))


def removed_scores(site: Hospital) -> None:
    with writing(site.database) as connection:
        connection.execute(delete(finding_score))
        connection.execute(delete(score_table))


def altered_delivery(site: Hospital) -> None:
    with writing(site.database) as connection:
        connection.execute(update(sent_object).values(digest="f" * 64))


ALTERED: dict[str, tuple[Callable[[Hospital], None], str]] = {
    "score": (altered_score, "film 1: the score by bundle {bundle} was altered after it was written"),
    "score that cannot be read": (unreadable_scores, "film 1: the score by bundle {bundle} is gone"),
    "scores removed": (removed_scores, "film 1: the score by bundle {bundle} is gone"),
    "event": (lambda site: altered_row(site, "scored", actor="nobody"), "film 1: row {scored} of the audit trail was"),
    "link": (
        lambda site: altered_row(site, "result_sent", previous="f" * 64),
        "film 1: row {sent} of the audit trail does not follow the row before it",
    ),
    "delivery": (altered_delivery, "film 1: the audit trail tells of no object"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_in_the_database_is_found_in_the_pack(name: str, copy: Hospital, tmp_path: Path) -> None:
    alter, words = ALTERED[name]
    with reading(copy.database) as connection:
        query = select(audit_event.c.action, audit_event.c.id).where(audit_event.c.instance_id == 1)
        ids = {row.action: row.id for row in connection.execute(query)}
    alter(copy)
    pack = tmp_path / "pack.zip"
    made = copy.xrayq("evidence", "make", "1", "--out", str(pack))
    assert (made.returncode, "WARNING: the score of instance 1" in made.stderr) == (0, "score" in name), made.stderr
    words = words.format(bundle=copy.bundle.digest[:12], scored=ids["scored"], sent=ids["result_sent"])
    done = copy.xrayq("evidence", "verify", str(pack))
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith(f"not whole: {words}")], done.stdout


# both databases, and large studies


def test_a_pack_of_either_database(database: Engine, bundle: Bundle, tmp_path: Path) -> None:
    with hospital(tmp_path, database, bundle) as site:
        score_and_send(site, [site.came("one")])
        trail = tmp_path / "trail.jsonl"
        assert site.xrayq("audit", "export", "--out", str(trail)).returncode == 0
        check = verify(site.pack("1", tmp_path / "pack.zip"), export=trail)
    assert (check.faults, check.remarks) == ((), ())


def test_a_study_of_thirty_films(bundle: Bundle, tmp_path: Path, copy: Hospital) -> None:
    study = "1.2.30"
    score(copy, [copy.came(f"film {number}", StudyInstanceUID=study) for number in range(30)])
    check = verify(copy.pack(study, tmp_path / "pack.zip"))
    assert (check.faults, check.remarks) == ((), ())
    assert check.manifest
    assert len(check.manifest.films) == 30


def test_a_pack_that_cannot_be_written_leaves_nothing(studied: Hospital, tmp_path: Path) -> None:
    taken = tmp_path / "taken.zip"
    taken.write_text("kept")
    done = studied.xrayq("evidence", "make", "1", "--out", str(taken))
    assert (done.returncode, taken.read_text()) == (2, "kept")
    done = studied.xrayq("evidence", "make", "1", "--out", str(tmp_path / "none" / "pack.zip"))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert list(tmp_path.iterdir()) == [taken]
