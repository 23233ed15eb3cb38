"""The endpoint over real sockets: what it serves, and what strangers cannot do to it."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from prometheus_client import CollectorRegistry, Counter

from tests.endpoints import request, samples
from tests.services import typed_in, wait_until
from worker.db.session import identity
from worker.errors import ConfigurationError, Unhealthy
from worker.health import client, probes
from worker.health.client import ProcessAddress
from worker.health.probes import Check, Probe
from worker.health.server import MOST_REQUESTS, UNSAID, Answer, Askers, Endpoint, Shown, metrics_page, probe_page, serve
from worker.metrics import make_registry

GOOD, BAD = Check(check="spool", ok=True, text="writable"), Check(check="redis", ok=False, text="away")


def broken() -> Answer:
    raise RuntimeError("SECRET^PERSON")


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(scope="module")
def endpoint(registry: CollectorRegistry) -> Iterator[Endpoint]:
    made = Endpoint(
        "127.0.0.1",
        0,
        {
            "/metrics": metrics_page(registry),
            "/readyz": probe_page("relay", "ours", lambda: [GOOD, BAD]),
            "/healthz": probe_page("relay", "ours", lambda: [GOOD]),
            "/broken": Shown(page=broken),
        },
    )
    made.request_seconds = 0.3
    made.start()
    yield made
    end(made)


def asked(role: str, port: int, host: str = "127.0.0.1") -> ProcessAddress:
    return ProcessAddress(role=role, host=host, port=port, installation="ours")


def end(endpoint: Endpoint) -> None:
    endpoint.shutdown()
    endpoint.server_close()


def test_metrics(endpoint: Endpoint, registry: CollectorRegistry) -> None:
    Counter("xrayq_some_total", "Some.", ["finding"], registry=registry).labels("pneumonia").inc(3)
    assert samples(endpoint.port)["xrayq_some_total", "pneumonia"] == 3


def test_a_counter_is_one_series() -> None:
    registry = make_registry("relay")
    Counter("xrayq_some_total", "Some.", registry=registry).inc()
    assert b"_created" not in metrics_page(registry).page().body


def test_probes_say_each_check_and_200_or_503(endpoint: Endpoint) -> None:
    assert request(endpoint.port, "/healthz?verbose").status == 200
    unready = request(endpoint.port, "/readyz")
    assert (unready.status, unready.failing) == (503, {"redis": "away"})
    assert unready.headers["Content-Type"] == "application/json"
    assert client.ask(asked("relay", endpoint.port, host="0.0.0.0")) == [GOOD, BAD]


def test_head_is_get_without_the_body(endpoint: Endpoint) -> None:
    head, get = (request(endpoint.port, "/healthz", method) for method in ("HEAD", "GET"))
    assert (head.status, head.body) == (200, "")
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_nothing_else_is_allowed(endpoint: Endpoint, method: str) -> None:
    refused = request(endpoint.port, "/metrics", method)
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_other_paths_are_404_and_not_repeated(endpoint: Endpoint) -> None:
    missing = request(endpoint.port, "/../etc/passwd")
    assert missing.status == 404
    assert "passwd" not in missing.body


def test_a_page_that_fails_shows_nothing_of_it(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    failed = request(endpoint.port, "/broken")
    assert failed.status == 500
    assert "SECRET" not in failed.body + caplog.text
    assert caplog.records[-1].__dict__["reason"] == "RuntimeError"


def test_silent_and_dribbling_peers_are_cut_and_never_too_many(endpoint: Endpoint) -> None:
    peers = [socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) for _ in range(MOST_REQUESTS)]
    peers[0].sendall(b"GET /metr")
    wait_until(lambda: endpoint._free._value == 0, 5, "all places to be taken")
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as one_more:
        assert one_more.recv(1) == b""
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
    wait_until(lambda: endpoint._free._value == MOST_REQUESTS, 5, "the places to be free again")
    assert request(endpoint.port, "/healthz").status == 200


def test_who_shows_no_token_is_told_what_stops_and_no_more(registry: CollectorRegistry) -> None:
    pages = {"/metrics": metrics_page(registry), "/readyz": probe_page("relay", "ours", lambda: [GOOD, BAD])}
    token = "a-token-of-prometheus"
    for askers in (Askers(token=token), Askers(token=token, all=True), Askers()):
        closed = Endpoint("127.0.0.1", 0, pages, askers)
        closed.start()
        refused = request(closed.port, "/metrics")
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="xrayq"')
        assert request(closed.port, "/metrics", token="another-token-of-mine").status == 401
        unready = request(closed.port, "/readyz")
        assert (unready.status, unready.failing) == (503, {"redis": UNSAID})
        assert client.ask(asked("relay", closed.port)) == [replace(check, text=UNSAID) for check in (GOOD, BAD)]
        if askers.token:
            assert request(closed.port, "/metrics", token=token).status == 200
            assert client.ask(replace(asked("relay", closed.port), token=token)) == [GOOD, BAD]
        end(closed)


def test_garbage_is_refused_and_not_repeated(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
        peer.sendall(b"\x01\x02 SECRET \xff\r\n\r\n")
        answer = peer.recv(1000)
    assert answer == b"refused\n"


def test_port_0_serves_nothing() -> None:
    assert serve("worker", "127.0.0.1", 0, {}) is None


def test_a_port_that_is_taken_is_logged_and_ends_nothing(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    assert serve("worker", "127.0.0.1", endpoint.port, {}) is None
    assert f"127.0.0.1:{endpoint.port}; set XRAYQ_WORKER_HTTP_PORT" in caplog.text


def test_checks_that_hang_or_break_are_answers_and_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PATIENCE", 0.6)
    asked, answer = [], Event()

    def hangs() -> str:
        asked.append(1)
        answer.wait(10)
        return "answers"

    def breaks() -> str:
        raise KeyError("SECRET")

    probe = Probe({"database": hangs, "redis": hangs, "spool": breaks})
    began = time.monotonic()
    database, redis, spool = probe()
    assert time.monotonic() - began < 1.2, "they are waited for together"
    assert database == Check(check="database", ok=False, text="no answer within 0.6 s")
    assert not redis.ok
    assert spool == Check(check="spool", ok=False, text="KeyError")
    assert not probe()[0].ok
    assert len(asked) == 2, "a question that hangs is not asked again"
    answer.set()
    wait_until(lambda: probe()[0].ok, 5, "the late answer")


@pytest.mark.parametrize(
    ("role", "port", "error", "text"),
    [
        ("worker", 0, ConfigurationError, "XRAYQ_WORKER_HTTP_PORT is 0"),
        ("worker", 1, Unhealthy, "no worker answers on port 1: start 'xrayq up' or 'xrayq worker', see"),
        ("worker", None, Unhealthy, "is the relay's, not the worker's"),
    ],
)
def test_asking_nobody_or_somebody_else(
    endpoint: Endpoint, role: str, port: int | None, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.ask(asked(role, endpoint.port if port is None else port))


def test_asking_a_stranger() -> None:
    stranger = Endpoint(
        "127.0.0.1", 0, {"/readyz": Shown(page=lambda: Answer(status=200, content_type="text/html", body=b"<p>"))}
    )
    stranger.start()
    with pytest.raises(Unhealthy, match="is no xrayq worker"):
        client.ask(asked("worker", stranger.port))
    end(stranger)


def test_health_prints_what_is_wrong_and_leaves_with_5(tmp_path: Path) -> None:
    with relay_on(tmp_path / "xrayq.db") as port:
        code, out, err = health(tmp_path, port)
    assert (code, out.strip()) == (5, "relay: spool: writable; redis: away")
    assert "relay is not ready: redis: away" in err


def test_health_tells_another_installation(tmp_path: Path) -> None:
    with relay_on(tmp_path / "b.db") as port:
        code, out, err = health(tmp_path, port)
    assert (code, out) == (5, "")
    assert "is the relay of another installation" in err


def health(home: Path, port: int) -> tuple[int, str, str]:
    with typed_in(home, home=str(home), relay_http_port=str(port)) as xrayq:
        return xrayq("health", "relay")


@contextmanager
def relay_on(file: Path) -> Iterator[int]:
    """The port of a relay on this database, which has no Redis."""
    made = Endpoint(
        "127.0.0.1", 0, {"/readyz": probe_page("relay", identity(f"sqlite:///{file}"), lambda: [GOOD, BAD])}
    )
    made.start()
    yield made.port
    end(made)


def test_a_database_is_the_same_for_each_of_its_users(tmp_path: Path) -> None:
    first = identity("postgresql://xrayq:secret@db/xrayq")
    assert identity("postgresql+psycopg://reader@db:5432/xrayq") == first
    assert identity("postgresql://xrayq@db/other") != first
    (tmp_path / "link").symlink_to(tmp_path)
    assert identity(f"sqlite:///{tmp_path}/a.db") == identity(f"sqlite:///{tmp_path}/link/a.db")


def test_a_short_lack_of_threads_is_over_when_it_is_over(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", none_left)
        for _ in range(MOST_REQUESTS + 1):
            with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as peer:
                peer.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert peer.recv(1) == b""
    assert request(endpoint.port, "/healthz").status == 200
