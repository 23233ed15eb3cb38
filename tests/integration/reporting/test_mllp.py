"""Messages over MLLP, to a receiver that is strict and to the one of the package `hl7`."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import start_hl7_server

from dicom_gateway.tls import ClientOptions, client_context
from tests.certificates import Authority
from tests.mllp import DRIPPING, GARBAGE, LOST, NO_END, OTHERS, SILENT, ris
from tests.services import free_port, wait_until
from worker.errors import Undelivered
from worker.reporting import faults
from worker.reporting.hl7 import acknowledgement, mllp

MESSAGE = "MSH|^~\\&|XRAYQ||RIS||20261128||ORU^R01^ORU_R01|id1|P|2.5.1||||||UNICODE UTF-8\rPID|1||4711||Müller\r"


def send(port: int, *, answer_seconds: float = 5, total_seconds: float = 10, **options: Any) -> mllp.Acknowledgement:
    return mllp.send(
        "127.0.0.1",
        port,
        MESSAGE.encode(),
        "id1",
        answer_seconds=answer_seconds,
        total_seconds=total_seconds,
        **options,
    )


@pytest.mark.parametrize("answer", ["AA", "CA", OTHERS, DRIPPING])
def test_an_acceptance(answer: str) -> None:
    with ris(free_port(), answer) as found:
        assert send(found.port).code == ("CA" if answer == "CA" else "AA")
        assert found.came == [MESSAGE.encode()]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("AE", "refused_AE"),
        ("AR", "refused_AR"),
        ("CE", "refused_CE"),
        ("AE 204", "refused_AE_204"),
        ("ZZ", "no_acknowledgement"),
        (GARBAGE, "no_acknowledgement"),
        (NO_END, "no_acknowledgement"),
        (LOST, "hung_up"),
    ],
)
def test_anything_else_is_a_reason_without_a_word_of_a_patient(answer: str, reason: str) -> None:
    with ris(free_port(), answer) as found, pytest.raises(Undelivered, match=rf"^{reason}$"):
        send(found.port)


def test_nobody_there() -> None:
    with pytest.raises(Undelivered, match=r"^no_connection$"):
        send(free_port())
    with pytest.raises(Undelivered, match=r"^unknown_host$"):
        mllp.send("no.such.host.invalid", 1, b"", "", answer_seconds=1, total_seconds=1)
    with pytest.raises(Undelivered, match=r"^unknown_host$"):
        mllp.send("no..host.invalid", 1, b"", "", answer_seconds=1, total_seconds=1)


def test_one_that_does_not_answer_is_left() -> None:
    with ris(free_port(), SILENT) as found, pytest.raises(Undelivered, match=r"^no_answer$"):
        send(found.port, answer_seconds=0.2)


def test_all_steps_together_have_an_end() -> None:
    """A receiver that sends a byte now and then would keep each single wait alive."""
    server, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        connection = server.accept()[0]
        with connection:
            while not stop.wait(0.05):
                connection.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(Undelivered, match=r"^no_answer$"):
        send(server.getsockname()[1], answer_seconds=5, total_seconds=0.5)
    assert time.monotonic() - began < 4
    stop.set()
    thread.join()
    server.close()


@pytest.mark.parametrize("field", ["|", "#"])
def test_an_acknowledgement_whose_separator_is_not_the_one_that_it_names(field: str) -> None:
    said = acknowledgement.read(f"MSH#^~\\&#RIS\rMSA{field}AE{field}id1\rERR{field}{field}{field}204^x\r".encode())
    assert said == acknowledgement.Acknowledgement(code="AE", of="id1", error="204")


def test_an_acknowledgement_of_another_message_alone_is_none() -> None:
    assert "must return MSH-10 of the message in MSA-2" in faults.in_words(faults.OTHER_MESSAGE)
    with ris(free_port(), OTHERS) as found, pytest.raises(Undelivered, match=r"^other_message$"):
        mllp.send("127.0.0.1", found.port, MESSAGE.encode(), "id2", answer_seconds=0.5, total_seconds=2)


def test_it_can_be_hung_up_from_another_thread() -> None:
    closing: list[Callable[[], None]] = []
    with ris(free_port(), SILENT) as found:
        failures: list[str] = []

        def run() -> None:
            with pytest.raises(Undelivered) as caught:
                send(found.port, answer_seconds=60, total_seconds=60, opened=closing.append)
            failures.append(str(caught.value))

        thread = threading.Thread(target=run)
        thread.start()
        assert found.asked.wait(10)
        closing[0]()
        thread.join(10)
    assert failures == ["hung_up"]


@contextmanager
def package_server(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[hl7.Message]]]:
    """The MLLP server of `hl7`, which knows nothing of us."""
    came: list[hl7.Message] = []
    port, loop = free_port(), asyncio.new_event_loop()

    async def serve(reader: Any, writer: Any) -> None:
        message = await reader.readmessage()
        came.append(message)
        writer.writemessage(message.create_ack())
        await writer.drain()
        writer.close()

    server = loop.run_until_complete(start_hl7_server(serve, "127.0.0.1", port, encoding="utf-8", ssl=tls))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield port, came
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_receiver_of_another_library_takes_it() -> None:
    with package_server() as (port, came):
        assert send(port).code == "AA"
        wait_until(lambda: came)
    assert str(came[0]) == MESSAGE


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(folder=tmp_path)


def context(authority: Authority, own: str = "xrayq") -> ssl.SSLContext:
    """Ours. `own`: whose certificate we show, "" for none."""
    shown = authority.issue(own) if own else None
    return client_context(
        ClientOptions(
            authorities=authority.file,
            certificate=shown.certificate if shown else None,
            key=shown.key if shown else None,
        )
    )


def test_over_tls_both_sides_show_a_certificate_and_the_end_is_said(authority: Authority) -> None:
    of_ris = authority.issue("ris").as_server(authority)
    with ris(free_port(), DRIPPING, "AE", tls=of_ris) as found:
        assert send(found.port, tls=context(authority)).code == "AA"
        with pytest.raises(Undelivered, match=r"^refused_AE$"):
            send(found.port, tls=context(authority))
        wait_until(lambda: found.goodbyes == 2, what="close_notify behind each acknowledgement")
    assert found.came == [MESSAGE.encode()] * 2
    with package_server(of_ris) as (port, came):
        assert send(port, tls=context(authority)).code == "AA"
        wait_until(lambda: came)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("foreign", "untrusted"),
        ("expired", "untrusted"),
        ("another host", "untrusted"),
        ("plain", "no_tls"),
        ("it wants a certificate", "no_tls|hung_up"),
        ("it hangs in the handshake", "no_tls"),
    ],
)
def test_without_tls_to_the_right_receiver_nothing_of_a_patient_leaves(
    authority: Authority, fault: str, reason: str
) -> None:
    foreign = Authority(folder=authority.folder, name="foreign")
    shown = {
        "foreign": foreign.issue("ris"),
        "expired": authority.issue("old", days=-1),
        "another host": authority.issue("other", names=("ris.example",)),
    }
    of_ris = (shown.get(fault) or authority.issue("ris")).as_server(authority)
    own = "" if fault == "it wants a certificate" else "xrayq"
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        with ris(free_port(), tls=None if fault == "plain" else of_ris) as found:
            port = hangs.getsockname()[1] if fault == "it hangs in the handshake" else found.port
            with pytest.raises(Undelivered, match=rf"^({reason})$") as failed:
                send(port, answer_seconds=0.5, tls=context(authority, own))
        assert found.came == []
    # TLS 1.3: a certificate of ours that is not good enough is refused behind the handshake, and what was sent by then
    # may have been taken.
    assert failed.value.nothing_arrived == (fault != "it wants a certificate")
