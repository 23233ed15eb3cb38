"""xrayq outcome, as typed; and studies through the real score task."""

import json
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.reporting.test_scoring import came, decoders, scoring
from tests.integration.studies.studies import Studies, uid_of
from tests.pacs import pacs
from tests.services import typed
from worker.db.session import database_time, reading
from worker.db.span import Span
from worker.scoring.decoding import DecodePool
from worker.studies.closing import close_due
from worker.studies.view import outcomes_of

__all__ = ["decoders"]
DAY = timedelta(days=1)


@pytest.fixture
def xrayq(studies: Studies, database_url: str) -> Any:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        given = {"database_url": database_url, "bundle": str(studies.site.bundle.path)}
        return typed(*words, cwd=studies.site.folder, home=str(studies.site.folder / "home"), **given)

    return run


def test_what_became_of_studies(studies: Studies, xrayq: Any) -> None:
    assert xrayq("outcome", "list").stdout == "no study has come yet\n"
    poor = studies.film("repeated", "a")
    used = studies.film("repeated", "b", flag=False)
    studies.dose("repeated")
    with pacs(studies.site.destinations[0].port) as found:
        assert studies.site.send() == [""] * 2
    studies.close()
    studies.film("refused", state="ineligible")
    studies.film("waits", state="received")
    newest, second, oldest = json.loads(xrayq("outcome", "list", "--json").stdout)
    assert [one["study_instance_uid"] for one in (newest, second, oldest)] == [
        uid_of(study) for study in ("waits", "refused", "repeated")
    ]
    assert [one["outcome"] for one in (newest, second, oldest)] == ["waiting", "waiting", "no_flag"]
    assert [one["results"] for one in (newest, second, oldest)] == [{}, {"waits": 1}, {"sent": 2}]
    assert len(json.loads(xrayq("outcome", "list", "--limit", "1", "--json").stdout)) == 1
    studies.close()
    with reading(studies.database) as connection:
        now = database_time(connection)
        counted = [outcomes_of(connection, Span(start=now - DAY, end=end)) for end in (now - DAY / 2, now)]
    assert counted == [{}, {"waiting": 1, "no_flag": 1, "not_analysed": 1}], "as the night's report counts them"
    text = xrayq("outcome", "list").stdout
    for said in (uid_of("refused"), "not analysed", "view", "no flag", "2 sent", "1 waits", "waiting"):
        assert said in text
    shown = json.loads(xrayq("outcome", "show", uid_of("repeated"), "--json").stdout)
    assert [(film["id"], film["part"]) for film in shown["film_list"]] == [
        (poor, "scored, not used"),
        (used, "used: of the scored films the one received last"),
    ]
    assert sorted(made["sop_instance_uid"] for of_film in shown["results"] for made in of_film["objects"]) == sorted(
        found.uids
    )
    shown_text = xrayq("outcome", "show", uid_of("repeated")).stdout
    place = studies.site.destinations[0].name
    assert [film["flags"] for film in shown["film_list"]] == [["pneumonia"], []]
    assert f"Film {poor} has a flag, pneumonia, that the outcome does not tell of." in shown_text
    for said in ("no flag, complete", "version 1", "1 other object\n", "received last", place):
        assert said in shown_text
    assert "view" in xrayq("outcome", "show", uid_of("refused")).stdout
    history = xrayq("instance", "show", str(used)).stdout
    assert "study_complete by relay" in history
    assert "Secret" not in text + shown_text
    assert (missing := xrayq("outcome", "show", "1.2.9")).returncode == 3
    assert "no study 1.2.9" in missing.stderr


def test_the_score_task_wakes_the_studies_of_its_films(studies: Studies, decoders: DecodePool) -> None:
    site, study = studies.site, {"StudyInstanceUID": uid_of("one")}
    refused, scored = came(site, "a", ViewPosition="AP", **study), came(site, "b", **study)
    studies.close()
    assert studies.said("one") == ("waiting", None, None, 0)
    scoring(site, decoders).run({refused: 0, scored: 0})
    assert close_due(studies.database) == 1
    found = studies.find("one")
    assert (found.study.used_instance_id, found.study.bundle_digest) == (scored, site.bundle.digest)
    assert [found.part_of(film) for film in found.films] == [
        "view",
        "used: of the scored films the one received last",
    ]
