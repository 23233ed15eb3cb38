"""`xrayq status` in a real terminal: a pseudo-terminal whose other end we read and type into."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dicom_gateway.spool import Spool
from tests.integration.audit.test_reconciliation import sent
from tests.services import environment, wait_until
from worker.db import schema
from worker.db.session import make_engine

pytestmark = pytest.mark.e2e

ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"


@dataclass(kw_only=True)
class Terminal:
    """One command in a terminal of its own."""

    end: int
    other: int
    process: subprocess.Popen[bytes]
    output: bytearray = field(default_factory=bytearray)

    def read(self) -> bytes:
        """Everything it wrote so far."""
        while select.select([self.end], [], [], 0)[0]:
            self.output += os.read(self.end, 65536)
        return bytes(self.output)

    def shows(self, words: str) -> None:
        """Wait until these words are written from now on."""
        start = len(self.read())
        wait_until(lambda: words.encode() in self.read()[start:], 20, f"{words!r} on the screen")

    def screen(self) -> list[str]:
        """The lines of the last whole look."""
        frames = self.read().decode(errors="replace").split("\x1b[H")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frames[-2]).replace("\r", "").split("\n")

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def status(home: Path, columns: int = 80, rows: int = 24, before: str = "") -> Iterator[Terminal]:
    """Args: before: Python that runs first."""
    end, other = pty.openpty()
    env = environment(home=str(home), spool_reserve_mib="1") | {"TERM": "xterm-256color"}
    env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    words = ["status", "--every", "0.2"]
    command = [sys.executable, "-c", f"{before}\nfrom worker.cli import main; main()", *words]
    started = subprocess.Popen(
        command,
        env=env,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    try:
        yield Terminal(end=end, other=other, process=started)
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()
        os.close(end)
        os.close(other)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "home" / "spool", reserve_bytes=1 << 20)
    made.prepare()
    return made


def test_it_waits_for_a_database_sees_a_film_arrive_follows_the_size_and_leaves_with_q(
    tmp_path: Path, spool: Spool
) -> None:
    home = tmp_path / "home"
    with status(home) as terminal:
        before = termios.tcgetattr(terminal.other)
        terminal.shows("no database at")
        assert ALTERNATE in terminal.output
        database = make_engine(f"sqlite:///{home / 'xrayq.db'}")
        schema.upgrade(database)
        terminal.shows("no film yet")
        sent(database, spool, tmp_path, "film", ae="ROOM_7")
        terminal.shows("ROOM_7")
        for columns, rows in ((120, 40), (40, 10), (80, 24)):
            terminal.resize(columns, rows)
            size = (columns, rows)
            wait_until(lambda size=size: (len(terminal.screen()[0]), len(terminal.screen())) == size, 10, f"{size}")  # type: ignore[misc]
            assert {len(line) for line in terminal.screen()} == {columns}
        assert [line.split()[0] for line in terminal.screen()[:6]] == [
            "xrayq", "All", "gateway", "relay", "worker", "films",
        ]  # fmt: skip
        terminal.type("q")
        wait_until(lambda: NORMAL in terminal.read(), 10, "the normal screen")
        assert terminal.process.wait(timeout=90) == 0
        assert termios.tcgetattr(terminal.other) == before
        assert b"Traceback" not in terminal.output
        database.dispose()


@pytest.mark.parametrize("way", ["\x03", signal.SIGTERM])
def test_it_leaves_the_terminal_as_it_was(tmp_path: Path, way: str | signal.Signals) -> None:
    with status(tmp_path) as terminal:
        before = termios.tcgetattr(terminal.other)
        terminal.shows("not a medical device")
        if isinstance(way, str):
            terminal.type(way)
        else:
            terminal.process.send_signal(way)
        wait_until(lambda: NORMAL in terminal.read(), 10, "the normal screen")
        assert terminal.process.wait(timeout=90) == 0
        assert termios.tcgetattr(terminal.other) == before
        assert b"Traceback" not in terminal.output


CTRL_C_WHILE = {
    "it writes": """
from signal import SIGINT, raise_signal
from rich.console import Console
leave = Console._exit_buffer
def struck(self):
    if shown.pop(0) if shown else False:
        raise_signal(SIGINT)
    leave(self)
Console._exit_buffer, shown = struck, [False] * 20 + [True]
""",
    "Python drops what is raised": """
from signal import SIGINT, raise_signal
from rich.live import Live
update = Live.update
class Struck:
    def __del__(self):
        raise_signal(SIGINT)
def struck(self, *words, **more):
    update(self, *words, **more)
    if shown:
        shown.pop()
Live.update, shown = struck, [Struck()]
""",
}


@pytest.mark.parametrize("when", CTRL_C_WHILE)
def test_a_ctrl_c_is_never_lost(tmp_path: Path, when: str) -> None:
    """At the two moments at which KeyboardInterrupt leaves the view standing, or the whole command."""
    with status(tmp_path, before=CTRL_C_WHILE[when]) as terminal:
        wait_until(lambda: NORMAL in terminal.read(), 20, "the normal screen")
        assert terminal.process.wait(timeout=90) == 0
        assert b"not a medical device" in terminal.output
        assert b"Traceback" not in terminal.output


def test_nothing_is_erased_between_two_looks(tmp_path: Path) -> None:
    """Each look is written over the one before: erasing first is what flickers."""
    with status(tmp_path) as terminal:
        terminal.shows("not a medical device")
        terminal.shows("not a medical device")
        terminal.shows("not a medical device")
        assert b"\x1b[2J" not in terminal.output
        assert b"\x1b[K" not in terminal.output
        terminal.type("q")
        assert terminal.process.wait(timeout=90) == 0
