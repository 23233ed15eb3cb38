"""The table of peers at work: in a gateway's memory, and as a person changes it while films come."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.errors import QuarantineFull, StoreUnavailable, TooFast
from dicom_gateway.local import store_file
from dicom_gateway.options import Received
from dicom_gateway.peers import Connected, Entry, Peer, Right
from dicom_gateway.spool import Spool
from tests.phantoms import chest_pixels, write_film
from tests.services import environment, free_port, listening, process, tool, typed_in, wait_until
from worker.peers import table
from worker.peers.leaving import reject_sender
from worker.processes.admission import Admission, Strangers
from worker.receiving.ingest import ingest

CR1 = Peer(calling_ae="CR1", networks=(ip_network("10.1.2.0/24"),))


@pytest.fixture
def stop() -> Event:
    return Event()


@pytest.fixture
def open_admission(database: Engine, stop: Event) -> Callable[..., Admission]:
    def make(slowed: Callable[[str, float], None] = lambda *_: None, **bounds: int) -> Admission:
        strangers = Strangers(**{"per_minute": 600, "objects": 100, "size": 1 << 30} | bounds)
        return Admission(database, None, strangers=strangers, own_title="XRAYQ-OWN", stop=stop, slowed=slowed)

    return make


def entry(admission: Admission, calling_ae: str, address: str = "10.1.2.7") -> Entry:
    return admission(Connected(calling_ae=calling_ae, address=address)).entry


def test_the_table_is_followed_and_outlives_the_database(
    database: Engine, open_admission: Callable[..., Admission], monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = open_admission()
    assert entry(admission, "CR1") is Entry.QUARANTINED
    table.add(database, [CR1], actor="operator:test")
    admission.read()
    assert entry(admission, "CR1") is Entry.KNOWN
    own = admission(Connected(calling_ae="XRAYQ-OWN", address="10.9.9.9"))
    assert (own.entry, own.rights) == (Entry.KNOWN, {Right.ECHO})
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE peer RENAME TO gone")
    with pytest.raises(SQLAlchemyError):
        admission.read()
    assert entry(admission, "CR1") is Entry.KNOWN, "what was read last counts"


def test_over_its_rate_a_peer_is_slowed_and_then_refused(
    database: Engine, open_admission: Callable[..., Admission], stop: Event, spool: Spool, tmp_path: Path
) -> None:
    table.add(database, [replace(CR1, stores_a_minute=12)], actor="operator:test")
    waits: list[float] = []

    def slowed(_: str, seconds: float) -> None:
        waits.append(seconds)
        stop.set()  # what waits for its time does not keep the gateway from ending

    admission, taken = open_admission(slowed), 0
    sent_by = Connected(calling_ae="CR1", address="10.1.2.7")
    film = replace(store_file(write_film(tmp_path), spool, "XRAYQ"), sent_by=sent_by, calling_ae="CR1")
    with pytest.raises(TooFast):  # noqa: PT012 - which one of them is asked below
        for _ in range(9):
            with admission.taking(film) as unknown:
                assert unknown is None
                taken += 1
    assert not film.path.exists(), "nobody was promised it"
    assert taken == 4, "ten seconds' worth is two, and two more can wait for their answer"
    assert waits == pytest.approx([5, 10], abs=2)


@pytest.mark.parametrize("bounds", [{"objects": 2}, {"size": 2_500_000}])
def test_strangers_together_have_so_much_in_quarantine(
    database: Engine, open_admission: Callable[..., Admission], spool: Spool, tmp_path: Path, bounds: dict[str, int]
) -> None:
    """And a peer is not refused for it."""
    table.add(database, [replace(CR1, networks=(ip_network("10.1.2.7"),))], actor="operator:test")
    admission = open_admission(**bounds)

    def send(name: str, ae: str, address: str = "10.9.9.9") -> Received:
        sent_by = Connected(calling_ae=ae, address=address)
        path = write_film(tmp_path, name, pixels=chest_pixels(1000, 500))
        film = replace(store_file(path, spool, "XRAYQ"), sent_by=sent_by, calling_ae=ae)
        assert isinstance(film, Received)
        with admission.taking(film) as unknown:
            ingest(database, spool, film, unknown=unknown)
        return film

    for name, ae in (("one", "CR1"), ("two", "CR2")):
        send(name, ae)
    with pytest.raises(QuarantineFull):
        send("three", "CR3")
    admission.read()
    files = set(spool.root.glob("*/*.dcm"))
    with pytest.raises(QuarantineFull):
        send("three", "CR3")
    assert set(spool.root.glob("*/*.dcm")) == files, "nobody was promised it"
    assert send("four", "CR1", "10.1.2.7").path.exists()
    reject_sender(database, "CR2", (), actor="operator:test")
    admission.read()
    send("three", "CR3")


def test_strangers_together_are_slowed_and_then_refused(
    database: Engine, open_admission: Callable[..., Admission], stop: Event, spool: Spool, tmp_path: Path
) -> None:
    stop.set()
    admission, taken = open_admission(per_minute=12), 0
    film = store_file(write_film(tmp_path), spool, "XRAYQ")
    with pytest.raises(TooFast):  # noqa: PT012 - which one of them is asked below
        for number in range(9):
            sent_by = Connected(calling_ae=f"CR{number}", address="10.9.9.9")
            with admission.taking(replace(film, sent_by=sent_by)):
                taken += 1
    assert taken == 4, "as one peer with such a rate"


def test_a_full_quarantine_is_no_way_around_the_rate(
    open_admission: Callable[..., Admission], stop: Event, spool: Spool, tmp_path: Path
) -> None:
    stop.set()
    waits: list[float] = []
    admission = open_admission(lambda _, seconds: waits.append(seconds), per_minute=12, objects=0)
    film, full = store_file(write_film(tmp_path), spool, "XRAYQ"), 0
    for _ in range(9):
        sent_by = Connected(calling_ae="CR1", address="10.9.9.9")
        try:
            with admission.taking(replace(film, sent_by=sent_by)):
                raise AssertionError("there is no room")
        except QuarantineFull:
            full += 1
        except TooFast:
            break
    assert full == 4, "then it is too fast, as it would be with room"
    assert waits == pytest.approx([5, 10], abs=2)


def test_what_is_not_committed_takes_no_room(
    open_admission: Callable[..., Admission], spool: Spool, tmp_path: Path
) -> None:
    admission = open_admission(objects=1)
    sent_by = Connected(calling_ae="CR1", address="10.9.9.9")
    film = replace(store_file(write_film(tmp_path), spool, "XRAYQ"), sent_by=sent_by)
    for _ in range(3):
        with pytest.raises(StoreUnavailable), admission.taking(film):
            raise StoreUnavailable
    with admission.taking(film) as unknown:
        assert unknown
    with pytest.raises(QuarantineFull), admission.taking(film):
        pass


def sends(port: int, title: str, film: Path) -> str:
    command = [tool("storescu"), "-v", "-aet", title, "-aec", "XRAYQ", "127.0.0.1", str(port), str(film)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_pacs_is_connected_sends_and_is_admitted(tmp_path: Path) -> None:
    """What the guide says, typed."""
    port = free_port()
    settings = {"home": str(tmp_path), "port": str(port), "unknown_peers": "quarantine"}
    films = [write_film(tmp_path, name) for name in ("first", "second")]
    with typed_in(tmp_path, **settings, spool_reserve_mib="16") as xrayq:
        xrayq("db", "upgrade")
        with process("gateway", environment(**settings), tmp_path / "log"):
            wait_until(lambda: listening(port), 30, "the gateway")
            assert "Received Store Response (Success)" in sends(port, "PACS", films[0])
            (held,) = json.loads(xrayq("peer", "quarantine", "--json")[1])
            assert (held["calling_ae"], held["address"], held["films"], held["why"]) == ("PACS", "127.0.0.1", 1, "AE")
            assert "1 film of 1 unknown AE in quarantine, not scored" in xrayq("doctor")[1]
            assert "quarantine" in xrayq("status", "--once")[1]
            said = xrayq("peer", "admit", "PACS")[1]
            assert said == (
                "PACS is a peer, from 127.0.0.1; 1 film and 0 other objects left the quarantine\n"
                "next: 1 film to be scored in turn; 'xrayq device show PACS' says where results go\n"
            )
            sends(port, "PACS", films[1])
            assert sends(port, "OTHER", write_film(tmp_path, "third")).count("Success") == 1
            states = [row["state"] for row in json.loads(xrayq("instance", "list", "--json")[1])]
            assert states == ["received", "received", "quarantined"]
            assert (
                xrayq("peer", "reject", "OTHER")[1]
                == "1 film and 0 other objects of OTHER are ineligible (not_admitted)\n"
            )
            (tmp_path / "peers.toml").write_text('[[peer]]\nae = "CR1"\nnetworks = ["10.1.2.0/24", "10.1.2.7"]')
            assert "overlap" in xrayq("peer", "import", "peers.toml")[2]
            assert xrayq("peer", "add", "CR1", "--network", "10.1.2.7", "--may", "store")[0] == 0
            assert "CR1 is a peer already" in xrayq("peer", "add", "CR1", "--network", "10.1.2.8")[2]
            listed = {row["ae"]: row for row in json.loads(xrayq("peer", "list", "--json")[1])}
            assert (listed["CR1"]["networks"], listed["CR1"]["rights"]) == (["10.1.2.7/32"], ["store"])
            assert listed["PACS"]["rights"] == ["commit", "echo", "store"]
            assert xrayq("peer", "remove", "CR1")[0] == 0
            assert xrayq("peer", "show", "CR1")[0] == 3
            assert "1 peer known; others: quarantine" in xrayq("doctor")[1]
            assert xrayq("audit", "verify")[0] == 0


@pytest.mark.slow
def test_under_reject_the_gateways_own_checks_go_on(tmp_path: Path) -> None:
    port, http = free_port(), free_port()
    settings = {"home": str(tmp_path), "port": str(port), "gateway_http_port": str(http), "unknown_peers": "reject"}
    with typed_in(tmp_path, **settings) as xrayq:
        xrayq("db", "upgrade")
        with process("gateway", environment(**settings), tmp_path / "log"):
            wait_until(lambda: listening(port), 30, "the gateway")
            wait_until(lambda: xrayq("health", "gateway")[0] == 0, 20, "its own C-ECHO")
            assert "Calling AE Title Not Recognized" in sends(port, "PACS", write_film(tmp_path))
            assert f"a gateway answers C-ECHO on 127.0.0.1:{port}" in xrayq("doctor")[1]
            with typed_in(tmp_path, **settings, calling_aes="CR1") as other:  # doctor asks by this title
                assert "and does not admit this machine as CR1" in other("doctor")[1]
        assert "XRAYQ-DOCTOR" not in (tmp_path / "log").read_text(), "it is no unknown peer"
