"""Real counterparts: databases, Redis, DCMTK and our own processes, started here and stopped by pid."""

import io
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from tests.phantoms import NOT_REAL
from worker.cli import main
from worker.logs import LIBRARIES

T = TypeVar("T")
Xrayq = Callable[..., tuple[int, str, str]]

REQUIRED = os.environ.get("XRAYQ_REQUIRE_SERVICES") == "1"
FAST = {
    "XRAYQ_LEASE_SECONDS": "4",
    "XRAYQ_RETRY_SECONDS": "0.2",
    "XRAYQ_SPOOL_RESERVE_MIB": "16",
    "XRAYQ_ALARM_SPOOL_MIB": "16",
    "XRAYQ_HOST": "127.0.0.1",
    "XRAYQ_CONFIG": os.devnull,
    "XRAYQ_BATCH_SIZE": "8",
    "XRAYQ_GATEWAY_HTTP_PORT": "0",
    "XRAYQ_WEB": "",
    "XRAYQ_RELAY_HTTP_PORT": "0",
    "XRAYQ_WORKER_HTTP_PORT": "0",
}


PATIENCE = 3.0
"""A machine with other work takes so many times as long as one that has none."""
CONNECTIONS_FROM = 32768
"""The kernel gives ports from here on to connections (net.ipv4.ip_local_port_range)."""


def wait_until(condition: Callable[[], T], seconds: float = 10.0, what: str = "") -> T:
    """The first true value of `condition()`. Fails the test after `seconds`, 10 at least, times PATIENCE."""
    seconds = max(seconds, 10.0) * PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} s still waiting for {what or condition}")
        time.sleep(0.05)


def free_port() -> int:
    """One that no connection of another test can get before its process listens."""
    while True:
        port = CONNECTIONS_FROM - 1 - secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def installed(name: str) -> str | None:
    """Path of the machine's program: pynetdicom puts a storescu and others of its own into a virtual environment, which
    come first on PATH where that is active."""
    ours = Path(sys.executable).parent
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(folder for folder in folders if Path(folder) != ours))


def tool(name: str, package: str = "dcmtk") -> str:
    """Path of an external program. Missing: skips, or fails where XRAYQ_REQUIRE_SERVICES=1."""
    path = installed(name)
    if path is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"{name} is not installed (apt install {package})")
    return str(path)


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without any XRAYQ_ variable, plus FAST, the mark that phantoms need, and `settings`
    (names without XRAYQ_)."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("XRAYQ_")}
    phantoms = {"XRAYQ_MARK": ",".join(NOT_REAL)}
    return clean | FAST | phantoms | {f"XRAYQ_{name.upper()}": value for name, value in settings.items()}


def settings_of(env: dict[str, str]) -> dict[str, str]:
    """The settings of an environment, as `environment` and `typed_in` take them."""
    return {name[6:].lower(): value for name, value in env.items() if name.startswith("XRAYQ_")}


@contextmanager
def process(role: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`xrayq ROLE` until the block ends; then SIGTERM, and SIGKILL for it and its children if that does not do."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", role], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        family = [started.pid, *(child.pid for child in children(started.pid))]
        if started.poll() is None:
            started.terminate()
            try:
                started.wait(timeout=90)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait(timeout=10)
        for pid in family:
            if psutil.pid_exists(pid):
                kill(pid)


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class Memory:
    """Watches how far the resident memory of a process grows."""

    def __init__(self, pid: int | None = None) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self.now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        """MiB, at most so far."""
        return self.most - self.before

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, self.now())

    def now(self) -> float:
        return float(self._process.memory_info().rss) / (1 << 20)


def child(pid: int, role: str) -> int | None:
    """The pid of the `xrayq ROLE` that `xrayq up` with this pid runs now."""
    for process_ in children(pid):
        try:
            if process_.cmdline()[-2:] == ["worker.cli", role]:
                return int(process_.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return None


def kill(pid: int) -> None:
    """SIGKILL, as the kernel's out-of-memory killer does it; comes back when the process's sockets are closed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_until(lambda: _ended(pid), 10, f"the end of process {pid}")


def _ended(pid: int) -> bool:
    """Gone, or a zombie of which no thread still holds its files."""
    try:
        process_ = psutil.Process(pid)
        return process_.status() == psutil.STATUS_ZOMBIE and process_.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def logging_kept() -> Iterator[None]:
    """What a command configures of logging ends with it: the tests after it look at log records too."""
    handlers = list(logging.getLogger().handlers)
    levels = {name: logging.getLogger(name).level for name in ("", "xrayq", *LIBRARIES)}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.getLogger().handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def typed_in(folder: Path, **settings: str) -> Iterator[Xrayq]:
    """The command as typed in `folder`, in this process because torch takes seconds to import: code, out, err.

    `settings` are named without XRAYQ_.
    """

    def run(*words: str) -> tuple[int, str, str]:
        patch.setattr(sys, "argv", ["xrayq", *words])
        out, err = io.StringIO(), io.StringIO()
        with logging_kept(), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        return code if isinstance(code, int) else int(code is not None), out.getvalue(), err.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        for name in os.environ:
            if name.startswith("XRAYQ_"):
                patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(f"XRAYQ_{name.upper()}", value)
        yield run


def typed(*words: str, cwd: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command, typed in this process with the settings of `environment`."""
    with typed_in(cwd or Path.cwd(), **settings_of(environment(**settings))) as xrayq:
        return subprocess.CompletedProcess(words, *xrayq(*words))
