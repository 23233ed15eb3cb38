"""What strangers and slow or lying peers cannot do: over raw sockets, without a database."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicom_gateway.tls import Clients, TlsOptions, server_tls
from tests.certificates import Authority
from tests.integration.http_push.conftest import SHOWN, Site
from tests.phantoms import chest_pixels, write_film
from tests.services import Memory, wait_until
from tests.stow import BOUNDARY, RELATED, outcomes, payload
from worker.http_push import app, connection, last_answer, request_body, server
from worker.http_push.admission import Admission
from worker.logs import READERS

HEAD = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {RELATED}\r\nAuthorization: {SHOWN['Authorization']}\r\n"


@pytest.fixture
def accepted() -> list[Any]:
    return []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a test."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(last_answer, "LINGER_SECONDS", 0.5)


@pytest.fixture
def site(start: Callable[..., Site], accepted: list[Any], quick: None) -> Site:
    return start(accepted.append)


def connect(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.server.port), timeout=20)


def read_all(peer: socket.socket) -> bytes:
    """To the end of the connection."""
    said = b""
    while piece := peer.recv(1 << 16):
        said += piece
    return said


def status_of(said: bytes) -> int:
    return int(said.split()[1])


def ask(site: Site, *, method: str = "POST", path: str = "", content: bytes = b"", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    shown = {"Content-Type": RELATED} | SHOWN | named
    return httpx.request(method, f"{site.url}{path}", content=content, headers=shown, timeout=20, trust_env=False)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"Content-Type": "multipart/form-data; boundary=b"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'}, 415),
        ({"Content-Type": "application/dicom"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": RELATED.replace(BOUNDARY, "b" * 71)}, 400),
        ({"Accept": "application/dicom+xml"}, 406),
        ({"Accept": "application/dicom+xml, application/json;q=0.5"}, 400),
        ({"Authorization": "Bearer another-token-of-no-one"}, 401),
        ({"Authorization": "Basic cm91dGVyOnB3"}, 401),
        ({"Authorization": ""}, 401),
    ],
)
def test_requests_that_are_refused_for_their_headers(site: Site, wrong: dict[str, str], status: int) -> None:
    answer = ask(site, content=b"--no-such-boundary\r\n", **wrong)
    assert answer.status_code == status
    assert (answer.headers.get("WWW-Authenticate") == 'Bearer realm="xrayq"') == (status == 401)
    assert site.answers[-1] == ("" if status == 401 else "ROUTER", status)


def test_other_paths_and_methods(site: Site) -> None:
    assert ask(site, path="/not-a-uid").status_code == 400
    assert ask(site, path="/1.2/series").status_code == 404
    fetched = ask(site, method="GET")
    assert (fetched.status_code, fetched.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        f"--{BOUNDARY}--\r\n".encode(),
        b"--" + b"x" * 200_000,
        f"--{BOUNDARY}\r\nX: ".encode() + b"y" * 9000,
    ],
)
def test_what_is_no_multipart_payload_is_a_bad_request(site: Site, content: bytes) -> None:
    answer = ask(site, content=content)
    assert answer.status_code == 400
    assert set(outcomes(answer.json())) == {"other"}


def test_too_many_parts_and_too_many_bytes(
    site: Site, accepted: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    film = write_film(tmp_path, pixels=chest_pixels(64, 48))
    monkeypatch.setattr(request_body, "MOST_PARTS", 2)
    answer = ask(site, content=payload([film, film, film]))
    assert (answer.status_code, len(outcomes(answer.json())["kept"]), len(accepted)) == (202, 2, 2)
    assert len(outcomes(answer.json())["other"]) == 1
    monkeypatch.setattr(request_body, "MOST_BYTES", 1000)
    assert ask(site, content=payload([film])).status_code == 413
    monkeypatch.setattr(app, "MOST_BYTES", 1000)
    with connect(site) as peer:  # announced: it is not even asked for
        peer.sendall(f"{HEAD}Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n".encode())
        assert status_of(read_all(peer)) == 413


def test_who_may_not_push_is_not_asked_for_the_payload(site: Site) -> None:
    expecting = b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with connect(site) as peer:
        peer.sendall(
            HEAD.replace("Bearer a", "Bearer b").encode() + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert status_of(read_all(peer)) == 401
    with connect(site) as peer:
        peer.sendall(HEAD.encode() + expecting)
        assert peer.recv(100).startswith(b"HTTP/1.1 100")


def test_slow_payloads(
    start: Callable[..., Site], accepted: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quick: None
) -> None:
    film = payload([write_film(tmp_path, pixels=chest_pixels(64, 48))])
    silent = start(accepted.append, silence=0.5)
    with connect(silent) as peer:
        peer.sendall(HEAD.encode() + b"Content-Length: 100000\r\n\r\n" + film[:1000])
        assert status_of(read_all(peer)) == 408
    monkeypatch.setattr(app, "FLOOR_SECONDS", 0.3)
    with connect(silent) as peer:  # never silent for long, and never done
        begun = film[:1000]
        peer.sendall(HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + begun + b"\r\n")
        ended = threading.Event()
        dripping = threading.Thread(target=_drip, args=(peer, ended))
        dripping.start()
        said = read_all(peer)
        ended.set()
        dripping.join()
    assert status_of(said) == 408
    assert (accepted, silent.files()) == ([], [])


def _drip(peer: socket.socket, ended: threading.Event) -> None:
    while not ended.wait(0.05):
        try:
            peer.sendall(b"1\r\n-\r\n")
        except OSError:
            return


def test_a_peer_that_goes_away_leaves_what_was_whole(site: Site, accepted: list[Any], tmp_path: Path) -> None:
    film = write_film(tmp_path)
    content = payload([film, film])
    with connect(site) as peer:
        peer.sendall(HEAD.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content[:-5000])
        wait_until(lambda: accepted, 10, "the first film")
    wait_until(lambda: not list(site.spool.root.glob("incoming/*")), 10, "the half film to go")
    assert (len(accepted), len(site.files())) == (1, 1)


def test_silent_connections_are_closed_and_crowds_give_way(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(site) as silent, connect(site) as dripping:
        dripping.sendall(b"POST /stu")
        assert (silent.recv(1), dripping.recv(1)) == (b"", b"")
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 60)
    with ExitStack() as crowd:
        peers = [crowd.enter_context(connect(site)) for _ in range(server.MOST_CONNECTIONS)]
        wait_until(lambda: len(site.server._open) == server.MOST_CONNECTIONS, 10, "all of them")
        assert ask(site, content=b"x").status_code == 400, "the oldest gave way"
        assert peers[0].recv(1) == b""
    wait_until(lambda: not site.server._open, 10, "the crowd to go")


def test_at_most_so_many_payloads_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MOST_REQUESTS", 1)
    with connect(site) as first:
        first.sendall(HEAD.encode() + b"Content-Length: 1000\r\n\r\n")
        wait_until(lambda: site.server._app._running, 10, "the first")
        busy = ask(site, content=b"x")
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "30")
    wait_until(lambda: not site.server._app._running, 10, "its end")
    assert ask(site, content=b"x").status_code == 400


def test_no_film_is_in_memory(site: Site, accepted: list[Any]) -> None:
    film = bytes(128) + b"DICM"  # refused at its start; what follows passes through
    with Memory() as memory, connect(site) as peer:
        peer.sendall(HEAD.encode() + b"Content-Length: 200000000\r\n\r\n" + payload([film])[:-30])
        block = bytes(1 << 20)
        for _ in range(100):
            peer.sendall(block)
    assert memory.growth < 30


def test_certified_clients_and_certificates_that_change(
    start: Callable[..., Site], accepted: list[Any], tmp_path: Path, quick: None
) -> None:
    authority, stranger = Authority(folder=tmp_path), Authority(folder=tmp_path, name="strange")
    own = authority.issue("own")
    options = TlsOptions(
        certificate=own.certificate, key=own.key, authorities=authority.file, clients=Clients.CERTIFIED
    )
    site = start(accepted.append, tls=server_tls(options), admission=Admission(tokens=[], certified=True))
    url = site.url.replace("http://", "https://")

    def push(who: Authority, name: str) -> httpx.Response:
        shown = who.issue(name, common_name=name)
        context = ssl.create_default_context(cafile=authority.file)
        context.load_cert_chain(shown.certificate, shown.key)
        headers = {"Content-Type": RELATED}
        return httpx.post(url, content=film, headers=headers, verify=context, timeout=20, trust_env=False)

    film = payload([write_film(tmp_path, pixels=chest_pixels(64, 48))])
    assert push(authority, "ROUTER 7").status_code == 200
    assert accepted[0].calling_ae == "ROUTER 7"
    assert push(authority, "a.name.that.is.no.ae.title.example").status_code == 403
    with pytest.raises(httpx.TransportError):
        push(stranger, "ROUTER 7")
    new = authority.issue("own", days=5)
    assert new.certificate == own.certificate
    context = ssl.create_default_context(cafile=authority.file)
    with connect(site) as plain, context.wrap_socket(plain, server_hostname="localhost") as peer:
        expires = ssl.cert_time_to_seconds(str((peer.getpeercert() or {})["notAfter"]))
    assert expires - time.time() < 6 * 86400
    with connect(site) as idle:
        idle.sendall(b"\x16\x03")
        assert push(authority, "ROUTER 7").status_code == 200, "a handshake that hangs holds nobody up"


def test_nothing_of_a_token_or_payload_is_logged(site: Site, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level("INFO")
    ask(site, content=payload([write_film(tmp_path), b"SECRET"]))
    ask(site, content=b"--SECRET")
    ask(site, Authorization="Bearer SECRET-token-of-no-one")
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in READERS]
    assert {record.message for record in ours} >= {"STOW refused", "pushed by web"}
    assert "SECRET" not in "".join(str(record.__dict__) for record in ours).upper()
