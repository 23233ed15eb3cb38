"""A study is complete once its films have ended and nothing more comes, and open again when something changes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, func, select, update

from tests.integration.studies.studies import Studies, uid_of
from worker.audit import trail
from worker.db.session import reading, time_of, writing
from worker.db.tables import instance, study_outcome
from worker.instances import reject, requeue
from worker.studies import closing
from worker.studies.adopting import adopt
from worker.studies.closing import AGAIN, close_due
from worker.studies.outcome import StudyOutcome


def test_a_study_is_complete_when_nothing_more_of_it_came_for_a_while(studies: Studies) -> None:
    film = studies.film("one")
    studies.dose("one")
    assert close_due(studies.database) == 0
    assert studies.said("one") == ("waiting", None, None, 0)
    assert studies.events() == []
    assert studies.close() == 1
    found = studies.find("one").study
    assert (found.outcome, found.used_instance_id, found.version) == (StudyOutcome.FLAGGED, film, 1)
    assert (found.films, found.failed, found.other_objects) == (1, 0, 1)
    assert found.bundle_digest == studies.site.bundle.digest
    assert found.complete_at
    detail = {
        "study": found.id,
        "version": 1,
        "outcome": "flagged",
        "reason": None,
        "used_instance_id": film,
        "bundle_digest": studies.site.bundle.digest,
        "films": 1,
        "failed": 0,
    }
    assert studies.events() == [("study_complete", film, detail)]
    assert close_due(studies.database) == 0
    assert trail.verify(studies.database).whole


def test_it_waits_for_its_films(studies: Studies) -> None:
    studies.film("one", "a")
    late = studies.film("one", "b", "received")
    assert studies.close() == 1
    assert studies.said("one") == ("waiting", None, None, 0)
    assert close_due(studies.database) == 0, "it is not looked at in vain"
    studies.site.end(late, flag=False)
    assert close_due(studies.database) == 1, "at once when the film ends"
    assert studies.said("one") == ("no_flag", None, late, 1)


def test_a_study_whose_film_ended_unsaid_is_looked_at_again(studies: Studies) -> None:
    """By a worker of the release before."""
    film = studies.film("one", state="received")
    studies.close()
    with writing(studies.database) as connection:
        connection.execute(update(instance).where(instance.c.id == film).values(state="ineligible", reason="view"))
        earlier = study_outcome.c.due_at
        due = connection.execute(select(earlier)).scalar_one()
        assert due - AGAIN < time_of(studies.database) < due
        connection.execute(update(study_outcome).values(due_at=due - AGAIN))
    assert close_due(studies.database) == 1
    assert studies.said("one") == ("not_analysed", "view", None, 1)


def test_outcomes(studies: Studies) -> None:
    for name, flag, found in (("sure", False, ["normal"]), ("torn", False, ["normal", "covid19"]), ("both", True, [])):
        studies.film(name, flag=flag, prediction_set=found)
    studies.film("refused", "a", "ineligible", reason="modality")
    studies.film("refused", "b", "ineligible")
    studies.film("lost", "a", "failed")
    studies.film("lost", "b", "ineligible")
    studies.film("half", "a", flag=False)
    studies.film("half", "b", "failed")
    studies.dose("report")
    assert studies.close() == 7
    said = {study: studies.said(study)[:2] for study in ("sure", "torn", "both", "refused", "lost", "half", "report")}
    assert said == {
        "sure": ("no_flag", None),
        "torn": ("unsure", None),
        "both": ("flagged", None),
        "refused": ("not_analysed", "view"),
        "lost": ("failed", "truncated"),
        "half": ("no_flag", None),
        "report": ("not_analysed", "not_a_film"),
    }
    assert [(one.films, one.failed) for one in studies.all()] == [(1, 0)] * 3 + [(2, 0), (2, 1), (2, 1), (0, 0)]


def test_a_late_film_opens_the_study_again(studies: Studies) -> None:
    first = studies.film("one", "a")
    studies.close()
    studies.film("one", "b", "ineligible")
    found = studies.find("one").study
    assert (found.outcome, found.before, found.complete_at) == (StudyOutcome.WAITING, StudyOutcome.FLAGGED, None)
    again = studies.find("one")
    assert [again.part_of(film) for film in again.films] == ["used before", "view"]
    studies.close()
    assert studies.said("one") == ("flagged", None, first, 2), "two films now"
    repeat = studies.film("one", "c", flag=False)
    studies.close()
    assert studies.said("one") == ("no_flag", None, repeat, 3)
    assert [(action, film) for action, film, _ in studies.events()] == [
        ("study_complete", first),
        ("study_changed", first),
        ("study_changed", repeat),
    ]
    assert studies.events()[-1][2]["before"] == {"outcome": "flagged", "used_instance_id": first}


def test_what_changes_nothing_of_the_outcome_is_no_new_version(studies: Studies) -> None:
    film = studies.film("one")
    studies.close()
    assert studies.film("one", state="received") == film, "the same film again"
    assert studies.find("one").study.complete_at, "opens nothing"
    studies.dose("one")
    studies.close()
    assert studies.said("one") == ("flagged", None, film, 1)
    assert studies.find("one").study.other_objects == 1
    assert len(studies.events()) == 1


def test_a_corrected_film_counts_in_its_newest_revision_and_in_the_order_of_its_first(studies: Studies) -> None:
    poor, repeat = studies.film("one", "a", flag=False), studies.film("one", "b", flag=False)
    studies.close()
    corrected = studies.film("one", "b", PatientID="PID-OTHER")
    assert corrected != repeat
    studies.close()
    assert studies.said("one") == ("flagged", None, corrected, 2)
    studies.film("one", "a", PatientID="PID-OTHER")
    studies.close()
    assert studies.said("one") == ("flagged", None, corrected, 2), "a correction of the poor film makes it no repeat"
    assert [studies.find("one").part_of(film) for film in studies.find("one").films] == [
        f"replaced by {poor + 3}",
        f"replaced by {corrected}",
        "used: of the scored films the one received last",
        "scored, not used",
    ]


def test_a_film_that_a_correction_puts_into_another_study(studies: Studies) -> None:
    film = studies.film("wrong", "a", flag=False)
    studies.close()
    moved = studies.film("wrong", "a", StudyInstanceUID=uid_of("right"))
    assert studies.find("wrong").study.outcome is StudyOutcome.WAITING
    assert studies.close() == 2
    assert studies.said("wrong") == ("not_analysed", "moved", None, 2)
    assert studies.said("right") == ("flagged", None, moved, 1)
    assert [one.films for one in studies.all()] == [0, 1]
    (left,) = studies.find("wrong").films
    assert (left.id, studies.find("wrong").part_of(left)) == (film, f"replaced by {moved}, in another study")


def test_failed_then_requeued_then_scored_or_rejected(studies: Studies) -> None:
    saved, given_up = studies.film("saved", state="failed"), studies.film("given up", state="failed")
    studies.close()
    assert studies.said("saved") == ("failed", "truncated", None, 1)
    requeue(studies.database, saved, "operator:test")
    reject(studies.database, given_up, "operator:test")
    assert close_due(studies.database) == 2, "nobody waits for more of it"
    assert studies.find("saved").study.before is StudyOutcome.FAILED
    assert studies.said("given up") == ("not_analysed", "operator", None, 2)
    studies.site.end(saved)
    assert close_due(studies.database) == 1
    assert studies.said("saved") == ("flagged", None, saved, 2)


def test_two_senders_of_one_study_share_its_row(studies: Studies) -> None:
    studies.film("one", "a", calling_ae="CR1")
    last = studies.film("one", "b", calling_ae="PACS", AccessionNumber="OTHER")
    studies.close()
    assert studies.said("one") == ("flagged", None, last, 1)
    found = studies.find("one")
    assert (found.senders, found.accession_numbers) == (["CR1", "PACS"], 2)


def test_what_names_no_study_opens_none(studies: Studies) -> None:
    studies.film("one", state="failed", StudyInstanceUID=None)
    assert studies.all() == []


def test_killed_at_any_statement_nothing_is_half_done(studies: Studies) -> None:
    for name in ("a", "b"):
        studies.film(name)
    studies.film("c", state="received")
    studies.later()

    def dies_after(statements: int) -> bool:
        left = [statements]

        def count(*_: Any) -> None:
            left[0] -= 1
            if not left[0]:
                raise RuntimeError("killed")

        event.listen(studies.database, "after_cursor_execute", count)
        try:
            close_due(studies.database)
        except RuntimeError:
            return True
        finally:
            event.remove(studies.database, "after_cursor_execute", count)
        return False

    survived = 1
    while dies_after(survived):
        done = (len(studies.events()), [one.version for one in studies.all()])
        assert done in ((0, [0, 0, 0]), (2, [1, 1, 0]))
        survived += 1
    assert survived > 8, "it was killed at each of its statements"
    assert [action for action, _, _ in studies.events()] == ["study_complete"] * 2
    assert trail.verify(studies.database).whole


def test_two_relays_at_once_close_each_study_once(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "BATCH", 3)
    for number in range(20):
        studies.film(str(number))
    studies.later()
    together = threading.Barrier(2)

    def relay(_: int) -> int:
        together.wait(timeout=30)
        return close_due(studies.database)

    with ThreadPoolExecutor(2) as threads:
        assert sum(threads.map(relay, range(2), timeout=60)) == 20
    assert [one.version for one in studies.all()] == [1] * 20
    assert len(studies.events()) == 20
    assert trail.verify(studies.database).whole


def test_a_film_that_ends_while_the_relay_looks_is_seen(studies: Studies) -> None:
    """The relay has read that it waits, and has not committed: who ends the film comes after it."""
    film = studies.film("one", state="received")
    studies.later()
    ending = threading.Thread(target=studies.site.end, args=(film,))
    with writing(studies.database) as connection:
        assert closing._look(connection) == 1
        ending.start()
    ending.join(timeout=60)
    assert close_due(studies.database) == 1
    assert studies.said("one") == ("flagged", None, film, 1)


def test_a_study_that_a_gateway_of_the_release_before_did_not_open(studies: Studies) -> None:
    studies.film("known", "a")
    studies.close()
    later, unknown = studies.film("known", "b"), studies.film("unknown")
    ago = timedelta(minutes=30)
    with writing(studies.database) as connection:  # as if nobody had opened it
        connection.execute(delete(study_outcome).where(study_outcome.c.study_instance_uid == uid_of("unknown")))
        of_known = study_outcome.c.study_instance_uid == uid_of("known")
        row = connection.execute(select(study_outcome).where(of_known)).one()
        values = {"last_received_at": row.last_received_at - ago, "quiet_until": row.quiet_until - ago, "due_at": None}
        connection.execute(update(study_outcome).where(of_known).values(values))
    adopt(studies.database)
    assert close_due(studies.database) == 2
    assert (studies.said("known")[2], studies.said("unknown")[2]) == (later, unknown)
    adopt(studies.database)
    assert close_due(studies.database) == 0
    with reading(studies.database) as connection:
        assert connection.execute(select(func.count()).select_from(study_outcome)).scalar_one() == 2
