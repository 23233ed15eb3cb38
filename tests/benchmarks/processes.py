"""The real processes that benchmarks talk to."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import uid

from dicom_gateway.errors import PeerUnavailable
from dicom_gateway.scu import echo
from tests.services import listening, tool
from worker.demo import free_port, wait_for

PDU = "131072"
NODELAY = {"TCP_NODELAY": "1"}  # DCMTK's tools wait for delayed acknowledgements without it

PROPOSE = {uid.ExplicitVRLittleEndian: "-x=", uid.JPEG2000Lossless: "-xv"}


@contextmanager
def serving(command: list[str], port: int, log: Path, *, tls: bool = False, **environment: str) -> Iterator[int]:
    """A started process that answers C-ECHO on `port`, or with TLS listens there; yields its pid, and ends it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            wait_for(
                lambda: process.poll() is not None or (listening if tls else _answers)(port),
                60,
                f"no answer, see {log}",
            )
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}: {log.read_text()[-500:]}")
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def gateway(home: Path, **settings: str) -> Iterator[tuple[int, int]]:
    """Our gateway with everything else at its default; yields (port, pid). Films end under `home`/spool."""
    port = free_port()
    home.mkdir()
    environment = {
        "XRAYQ_HOME": str(home),
        "XRAYQ_HOST": "127.0.0.1",
        "XRAYQ_PORT": str(port),
        "XRAYQ_CONFIG": os.devnull,
        **settings,
    }
    xrayq = [sys.executable, "-m", "worker.cli"]
    subprocess.run([*xrayq, "db", "upgrade"], env=os.environ | environment, check=True, capture_output=True)
    with serving([*xrayq, "gateway"], port, home / "gateway.log", **environment) as pid:
        yield port, pid


def add_peer(home: Path, calling_ae: str, *options: str) -> None:
    """To the table of the gateway of `home`. Returns when it knows."""
    command = [sys.executable, "-m", "worker.cli", "peer", "add", calling_ae, *options]
    environment = os.environ | {"XRAYQ_HOME": str(home), "XRAYQ_CONFIG": os.devnull}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    log = home / "gateway.log"
    wait_for(lambda: "peers read" in log.read_text(), 10, f"the table is not read, see {log}")


@contextmanager
def storescp(output: Path, *words: str) -> Iterator[tuple[int, int]]:
    """DCMTK's receiver, a process for each association; it does not fsync. Yields (port, pid)."""
    port = free_port()
    output.mkdir()
    command = [tool("storescp"), *words, "--fork", "-pdu", PDU, "-od", str(output), str(port)]
    with serving(command, port, output.with_suffix(".log"), tls="+tls" in words, **NODELAY) as pid:
        yield port, pid


@contextmanager
def plain_receiver(output: Path) -> Iterator[tuple[int, int]]:
    """pynetdicom as its documentation shows it, plus fsync. Yields (port, pid)."""
    port = free_port()
    output.mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.plain_receiver", str(port), str(output)]
    with serving(command, port, output.with_suffix(".log")) as pid:
        yield port, pid


def storescu(
    port: int, folders: list[Path], log: Path, syntax: str = uid.ExplicitVRLittleEndian, words: tuple[str, ...] = ()
) -> None:
    """Send each folder over an association of its own, all at once. Returns when every film was answered."""
    with log.open("wb") as output:
        senders = [
            subprocess.Popen(
                [
                    tool("storescu"),
                    *words,
                    PROPOSE[syntax],
                    "-R",
                    "-pdu",
                    PDU,
                    "+sd",
                    "127.0.0.1",
                    str(port),
                    str(folder),
                ],
                env=os.environ | NODELAY,
                stdout=output,
                stderr=output,
            )
            for folder in folders
        ]
        codes = [sender.wait(timeout=600) for sender in senders]
    if any(codes):
        raise RuntimeError(f"storescu ended with {codes}: {log.read_text()[-500:]}")


def peak_rss_mb(pid: int) -> float:
    """Largest resident set so far, MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def _answers(port: int) -> bool:
    try:
        echo("127.0.0.1", port, called_ae="XRAYQ")
    except (PeerUnavailable, OSError):
        return False
    return True
