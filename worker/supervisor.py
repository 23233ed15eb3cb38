"""`xrayq up`: every process of the service on one machine, restarted when one falls, stopped together."""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from worker.errors import Unhealthy
from worker.redis_server import RedisServer, end_with_parent
from worker.settings import Settings

log = logging.getLogger("xrayq.up")

ROLES = ("gateway", "relay", "worker")
STOP_SECONDS = 20.0
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 60.0
PORT_SECONDS = 2.0


@dataclass(kw_only=True)
class Child:
    """One supervised process."""

    role: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.5
    due: float = field(default=0.0)

    def start(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            preexec_fn=end_with_parent,
        )
        self.started = time.monotonic()
        log.info("started", extra={"role": self.role, "pid": self.process.pid})

    def fell(self) -> bool:
        """True once for each end; sets when to start again, later each time it falls soon."""
        if self.process is None or self.process.poll() is None:
            return False
        log.error("ended, will restart", extra={"role": self.role, "exit_code": self.process.returncode})
        self.pause = 0.5 if time.monotonic() - self.started > STEADY_SECONDS else min(self.pause * 2, LONGEST_PAUSE)
        self.due = time.monotonic() + self.pause
        self.process = None
        return True


def supervise(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. The schema must be up to date."""
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    environment = dict(os.environ)
    lock = _lock(settings.home)
    _free(settings.host, settings.port)
    redis = None if settings.redis_url else RedisServer(settings.home)
    if redis:
        redis.start()
        environment["XRAYQ_REDIS_URL"] = redis.url
    redis_due = 0.0
    children = [Child(role=role, command=[sys.executable, "-m", "worker.cli", role]) for role in ROLES]
    try:
        for child in children:
            child.start(environment)
        while not stopping:
            if redis and not redis.running and time.monotonic() >= redis_due:
                log.error("ended, will restart", extra={"role": "redis"})
                redis_due = time.monotonic() + LONGEST_PAUSE
                with contextlib.suppress(Unhealthy):  # receiving goes on without Redis; it is tried again
                    redis.start()
                    redis_due = 0.0
            for child in children:
                child.fell()
                if child.process is None and time.monotonic() >= child.due:
                    child.start(environment)
            time.sleep(0.1)
    finally:
        _stop(children)
        if redis:
            redis.stop()
        os.close(lock)
        log.info("stopped")


def _lock(home: Path) -> int:
    """One `up` for each home. Raises Unhealthy when another holds it."""
    descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unhealthy(f"another 'xrayq up' runs in {home}: stop it, or use --home") from None
    return descriptor


def _free(host: str, port: int) -> None:
    """Whoever starts us sees at once that the DICOM port is taken. Raises Unhealthy.

    Waits for a moment: the gateway of an 'up' that was killed is just leaving.
    """
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Unhealthy(f"cannot listen on {host}:{port}: {error.strerror}; set XRAYQ_PORT") from None
        time.sleep(0.1)


def _stop(children: list[Child]) -> None:
    """SIGTERM to all; whoever takes longer than STOP_SECONDS is killed: nothing is lost by it."""
    running = [child.process for child in children if child.process and child.process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
