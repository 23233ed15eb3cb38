"""Not a word of a patient reaches a log, whatever happens to the film."""

import logging
import socket
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_gateway.errors import NoSpace
from dicom_gateway.options import Received
from dicom_gateway.spool import Spool
from tests.phantoms import chest_film
from tests.protocol.conftest import Node
from tests.protocol.raw import Peer, dataset_bytes, store_command, store_fragments
from tests.services import wait_until
from worker.logs import LIBRARIES, configure

SECRETS = ("Secret", "PID-SECRET", "ACC-SECRET", "19500131", "1950.01.31")
PLAIN = chest_film("private")
# Values that a parser may want to complain about, with the value in its complaint.
ODD = chest_film("private", PatientAge=None, StudyDate=None)
ODD.add_new("PatientAge", "AS", "PID-SECRET")
ODD.add_new("PatientBirthDate", "LO", "1950.01.31 Secret")
ODD.add_new("StudyDate", "LO", "Secret^Person")
ODD_BYTES = dataset_bytes(ODD).replace(b"\x10\x00\x30\x00LO", b"\x10\x00\x30\x00DA").replace(
    b"\x08\x00\x20\x00LO", b"\x08\x00\x20\x00DA"
)  # fmt: skip
PLAIN_BYTES = dataset_bytes(PLAIN)


@pytest.fixture
def as_in_production(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Logging as every xrayq process sets it up, at its most talkative, captured."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("xrayq", *LIBRARIES))]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    with warnings.catch_warnings():
        configure("DEBUG", "text")
        root.addHandler(caplog.handler)
        caplog.handler.setLevel(logging.DEBUG)
        yield
    root.handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def everything(records: list[logging.LogRecord]) -> str:
    """Message, arguments, extras and traceback of each record."""
    formatter = logging.Formatter()
    return "\n".join(
        f"{record.name} {formatter.format(record)} {[str(value) for value in vars(record).values()]}"
        for record in records
    )


def accept_nothing(_: Received) -> None:
    raise RuntimeError("could not insert Secret^Person")


@pytest.mark.parametrize(
    ("dataset", "instance", "said", "accept"),
    [
        (PLAIN_BYTES, PLAIN.SOPInstanceUID, "stored", None),
        (ODD_BYTES, PLAIN.SOPInstanceUID, "stored", None),
        (PLAIN_BYTES[:-10], PLAIN.SOPInstanceUID, "refused", None),
        (ODD_BYTES[:-10], PLAIN.SOPInstanceUID, "refused", None),
        (PLAIN_BYTES, "1.2.3", "refused", None),
        (PLAIN_BYTES, "Secret^Person", "refused", None),
        (PLAIN_BYTES, PLAIN.SOPInstanceUID, "association failed", accept_nothing),
        (PLAIN_BYTES[:400], None, "association aborted", None),
    ],
    ids=["stored", "odd", "cut", "odd and cut", "other instance", "name as instance", "accept breaks", "stalled"],
)
def test_no_log_record_names_the_patient(
    start: Callable[..., Node],
    as_in_production: None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    dataset: bytes,
    instance: str | None,
    said: str,
    accept: Callable[[Received], None] | None,
) -> None:
    assert any(secret.encode() in dataset for secret in SECRETS)
    node = start(accept=accept, network_timeout=0.3)
    with Peer(node.port) as peer:
        peer.associate()
        fragments = store_fragments(dataset)
        peer.send(store_command(instance or PLAIN.SOPInstanceUID), *(fragments if instance else [fragments[0][:-9]]))
        assert peer.receive() is not None
        wait_until(lambda: said in caplog.text, 5, f"{said!r} in the log")
    shown = everything(caplog.records) + "".join(capfd.readouterr())
    assert [secret for secret in SECRETS if secret in shown] == []


def test_a_connection_that_is_lost_is_told_in_plain_words(
    start: Callable[..., Node], as_in_production: None, caplog: pytest.LogCaptureFixture
) -> None:
    node = start()
    with Peer(node.port) as peer:
        peer.associate()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it resets it
    wait_until(lambda: "connection lost" in caplog.text, 5, "the line")
    (line,) = [vars(one) for one in caplog.records if one.message == "connection lost"]
    assert line["reason"] == "Connection reset by peer"


def test_a_full_disk_names_nobody(
    start: Callable[..., Node], as_in_production: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    node = start(spool=Spool(tmp_path / "full", reserve_bytes=1 << 60))
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.store(PLAIN_BYTES, PLAIN.SOPInstanceUID).Status == 0xA700
    (line,) = [vars(one) for one in caplog.records if one.message == "C-STORE refused"]
    assert (line["status"], line["reason"], line["sop_class"]) == ("0xA700", NoSpace.comment, PLAIN.SOPClassUID.name)
    assert (line["calling_ae"], line["called_ae"]) == ("RAW", "XRAYQ")
    assert line["peer"].startswith("127.0.0.1")
    assert [secret for secret in SECRETS if secret in everything(caplog.records)] == []
