"""A film that several senders bring, of which one at least was unknown: it is scored once, whoever is admitted when."""

import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, select

from dicom_gateway.options import Received
from dicom_gateway.revision import Comparison, compare
from dicom_gateway.spool import Spool
from tests.integration.peers.test_quarantine import ELSEWHERE, WHO, accounts, actions, film, queued, states, stranger
from tests.integration.studies.studies import Studies, uid_of
from worker.cli.one_instance import find_one, newest_admitted
from worker.db.session import database_time, make_engine, reading
from worker.db.span import Span
from worker.db.tables import audit_event, instance
from worker.errors import ConfigurationError, Unhealthy, WrongState
from worker.instances import find, history, reject
from worker.nightly.corrections import demographics
from worker.peers.leaving import admit_instance, admit_sender, reject_sender
from worker.processes.parts import film_comparison
from worker.receiving.ingest import ingest
from worker.settings import Settings
from worker.states import State, sources


def admit(database: Engine, calling_ae: str) -> None:
    admit_sender(database, calling_ae, (), actor=WHO)


def reading_from(spool: Spool) -> Callable[[str, str], Comparison]:
    return lambda first, second: compare(spool.path_of(first), spool.path_of(second), lambda *_: False)


def ends(database: Engine) -> list[tuple[int, str | None]]:
    """Instances that are not scored, and why."""
    return [
        (key, reason) for key, state, reason, admitted in states(database) if state == "ineligible" and not admitted
    ]


def test_of_two_strangers_the_second_that_is_admitted_brings_no_second_score(studies: Studies) -> None:
    database, spool, folder = studies.database, studies.site.spool, studies.site.folder
    about = {"StudyInstanceUID": uid_of("S")}
    first, second, third = (
        stranger(database, spool, film(spool, folder, ae=ae, **about), address)[1]
        for ae, address in (("CR1", ELSEWHERE), ("PACS", ELSEWHERE), ("PACS", "10.9.9.8"))
    )
    admit(database, "CR1")
    _, released = admit_sender(database, "PACS", [ip_network("10.9.9.0/24")], actor=WHO)
    assert (released.films, released.ended) == (2, 2)
    assert queued(database) == [first]
    assert ends(database) == [(second, "duplicate"), (third, "duplicate")]
    assert actions(database, second) == ["received", "quarantined", "admitted", "ineligible"]
    assert accounts(database) == (3, 0, 0)
    studies.site.end(first, "scored")
    studies.close()
    assert studies.said("S")[2] == first
    assert studies.find("S").study.films == 1
    assert [view.replaced_by for view in find(database, str(first))] == [None]


@pytest.mark.parametrize("state", ["scored", "received", "rejected"])
def test_what_a_known_sender_brought_is_here_whatever_became_of_it(studies: Studies, state: str) -> None:
    database, spool, folder = studies.database, studies.site.spool, studies.site.folder
    same = film(spool, folder, "S one", ae="NEW", StudyInstanceUID=uid_of("S"))
    _, held = stranger(database, spool, same)
    _, known = ingest(database, spool, replace(same, calling_ae="CR1", fresh=False))
    if state == "scored":
        studies.site.end(known, state)
    elif state == "rejected":
        reject(database, known, WHO)
    studies.close()
    before = studies.said("S"), queued(database)
    assert admit_instance(database, held, actor=WHO) == "duplicate"
    assert studies.close() == 0
    assert (studies.said("S"), queued(database)) == before
    assert ends(database) == [(held, "duplicate")]
    assert accounts(database)[1:] == (0, 0)


def test_what_was_rejected_from_the_quarantine_is_not_here(database: Engine, spool: Spool, tmp_path: Path) -> None:
    stranger(database, spool, film(spool, tmp_path, ae="CR1"))
    reject_sender(database, "CR1", (), actor=WHO)
    _, second = stranger(database, spool, film(spool, tmp_path, ae="PACS"))
    admit(database, "PACS")
    assert queued(database) == [second]


def test_other_bytes_are_compared_as_at_the_door(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """The same film with another comment; a correction; and a film that a correction has overtaken."""
    _, late = stranger(database, spool, film(spool, tmp_path, ae="LATE", PatientID="WRONG"))
    _, noted = stranger(database, spool, film(spool, tmp_path, ae="PACS", ImageComments="seen"))
    _, known = ingest(database, spool, film(spool, tmp_path, ae="KNOWN"))
    _, other = stranger(database, spool, film(spool, tmp_path, ae="CR1", PatientID="ANOTHER"))
    for ae in ("LATE", "PACS", "CR1"):
        admit_sender(database, ae, (), actor=WHO, compare=reading_from(spool))
    assert ends(database) == [(late, "replaced"), (noted, "duplicate")]
    assert queued(database) == [known, other]
    with reading(database) as connection:
        changed = dict(connection.execute(select(instance.c.id, instance.c.identity_changed)).all())  # type: ignore[arg-type]
        query = select(audit_event.c.detail).where(
            audit_event.c.instance_id == other, audit_event.c.action == "admitted"
        )
        detail = connection.execute(query).scalar_one()
    assert {key: names for key, names in changed.items() if names} == {other: ["PatientID"]}
    assert detail == {"before": known, "identity_changed": ["PatientID"], "changed": ["PatientID"]}
    assert find(database, str(known))[0].replaced_by == other
    assert accounts(database) == (4, 0, 0)


def test_by_its_uid_a_command_takes_the_film_that_it_can_act_on(studies: Studies) -> None:
    """A stranger's film is the newest under the UID of a dead letter, then another stranger's."""
    database, spool, folder = studies.database, studies.site.spool, studies.site.folder
    about = {"StudyInstanceUID": uid_of("S")}
    _, known = ingest(database, spool, film(spool, folder, ae="KNOWN", **about))
    _, held = stranger(database, spool, film(spool, folder, ae="CR1", PatientID="X", **about))
    uid = find(database, str(known))[0].sop_instance_uid
    studies.site.end(known, "failed")
    assert find_one(database, uid, {State.FAILED}) == newest_admitted(database, uid).id == known
    assert find_one(database, uid, {State.QUARANTINED}) == newest_admitted(database, str(held)).id == held
    with pytest.raises(WrongState, match=rf"name an id: {known} \(failed, of KNOWN\), {held} \(quarantined, of CR1\)"):
        find_one(database, uid, sources(State.INELIGIBLE))
    assert find_one(database, uid, {State.SCORED}) == held, "which the command refuses in its own words"
    _, last = ingest(database, spool, film(spool, folder, ae="KNOWN", PatientID="Y", **about))
    assert find_one(database, uid, {State.QUARANTINED}) == held
    assert find_one(database, str(last), {State.QUARANTINED}) == last


def test_of_a_duplicate_the_trail_keeps_whose_name_changed(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """As at the door: the patient is the same, so there is no new work."""
    _, held = stranger(database, spool, film(spool, tmp_path, ae="CR1", PatientName="SMITH^ANNA", PatientID="1"))
    _, known = ingest(database, spool, film(spool, tmp_path, ae="KNOWN", PatientName="SMYTH^ANNA", PatientID="1"))
    assert admit_instance(database, held, actor=WHO, compare=reading_from(spool)) == "duplicate"
    detail = history(database, held)[-1].detail
    assert detail == {"reason": "duplicate", "here_already": known, "demographics_changed": ["PatientName"]}
    assert find(database, str(held))[0].identity_changed is None
    assert queued(database) == [known]
    with reading(database) as connection:
        today = Span.of_day(database_time(connection).date(), ZoneInfo("UTC"))
        assert demographics(connection, today) == {"CR1": 1}, "the night's report counts it for its sender"


def test_without_the_spool_nobody_guesses(database: Engine, spool: Spool, tmp_path: Path) -> None:
    """From a shell without the volume, with another installation's spool, and with a film that cannot be read."""
    spool.prepare()
    other = Spool(tmp_path / "other", reserve_bytes=0)
    other.prepare()
    _, first = stranger(database, spool, film(spool, tmp_path, ae="CR1"))
    noted = film(spool, tmp_path, ae="CR2", ImageComments="seen")
    _, second = stranger(database, spool, noted)
    admit(database, "CR1")

    def admitted(root: Path) -> str:
        with film_comparison(Settings(spool=root)) as compared:
            return admit_instance(database, second, actor=WHO, compare=compared)

    for root in (tmp_path / "not_mounted", other.root):
        with pytest.raises(ConfigurationError, match=r"^XRAYQ_SPOOL: .* run this where the gateway's spool is"):
            admitted(root)
    content = noted.path.read_bytes()
    noted.path.unlink()
    noted.path.mkdir()  # no permission says the same to everybody but root
    with pytest.raises(Unhealthy, match="cannot be read to compare it: Is a directory"):
        admitted(spool.root)
    assert queued(database) == [first]
    assert ends(database) == []
    noted.path.rmdir()
    noted.path.write_bytes(content)
    assert admitted(spool.root) == "duplicate"
    assert queued(database) == [first]


def test_one_score_whoever_is_faster(
    database: Engine, database_url: str, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people admit the senders of the same films while a known sender brings them too."""
    monkeypatch.setattr("worker.peers.leaving.BATCH", 2)
    names = [f"film {number}" for number in range(8)]
    for name in names:
        for ae in ("CR1", "CR2"):
            stranger(database, spool, film(spool, tmp_path, name, ae=ae))
    known = [replace(film(spool, tmp_path, name, ae="KNOWN"), fresh=False) for name in names]
    begin = threading.Barrier(4)
    other = make_engine(database_url)

    def send(films: list[Received]) -> None:
        begin.wait()
        for one in films:
            ingest(database, spool, one)

    def let_in(engine: Engine, ae: str) -> None:
        begin.wait()
        admit(engine, ae)

    threads = [
        threading.Thread(target=send, args=(known[:4],)),
        threading.Thread(target=send, args=(known[:3:-1],)),
        threading.Thread(target=let_in, args=(database, "CR1")),
        threading.Thread(target=let_in, args=(other, "CR2")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    assert len(queued(database)) == 8
    with reading(database) as connection:
        uids = connection.execute(select(instance.c.sop_instance_uid).where(instance.c.state == "received")).scalars()
        assert len(set(uids)) == 8
    received, quarantined, lost = accounts(database)
    assert (quarantined, lost) == (0, 0)
    assert received == 8 + len(ends(database))
