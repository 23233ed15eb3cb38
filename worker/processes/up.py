"""`xrayq up`: every process of the service on one machine, restarted when one falls, stopped together."""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from model.bundle import MANIFEST
from worker.bundles.roles import in_service
from worker.db import schema
from worker.db.session import make_engine, reading
from worker.errors import ConfigurationError, Unhealthy
from worker.lifetime import end_with_parent
from worker.processes.parts import cannot_listen, make_folder, must_be_folder, open_database, variable_of_spool
from worker.processes.redis_server import RedisServer
from worker.queue.retry import back_off
from worker.reporting.destinations import routes_of
from worker.reporting.outlook import outlook
from worker.setting_values import listening_place
from worker.settings import Settings

log = logging.getLogger("xrayq.up")

ROLES = ("gateway", "relay", "worker")
WITH_PAGE = (*ROLES, "web")
STOP_SECONDS = 20.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = {"gateway": 2.0}
"""Seconds before a process that fell soon starts again. While the gateway is away a PACS finds nobody, and may give up
after a few tries. For the others films wait in the database, and a worker's start costs seconds of all cores."""
LONGEST_PAUSE_ELSE = 30.0
STEADY_SECONDS = 60.0
PORT_SECONDS = 2.0


@dataclass(kw_only=True)
class Pause:
    """How long to wait before the next start: twice as long each time that a process fell soon."""

    longest: float
    due: float = 0.0
    _falls: int = 0
    _started: float = 0.0

    def started(self) -> None:
        self._started = time.monotonic()

    def fell(self) -> None:
        now = time.monotonic()
        steady = now - self._started > STEADY_SECONDS
        self._falls = 1 if steady else self._falls + 1
        self.due = now + back_off(FIRST_PAUSE, self._falls, self.longest)

    @property
    def over(self) -> bool:
        return time.monotonic() >= self.due


@dataclass(kw_only=True)
class Child:
    """One supervised process."""

    role: str
    command: list[str]
    pause: Pause
    process: subprocess.Popen[bytes] | None = None
    ends: int = 0

    def start(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            preexec_fn=end_with_parent,
        )
        self.pause.started()
        log.info("started", extra={"role": self.role, "pid": self.process.pid})

    def look(self) -> None:
        """Note an end. Raises ConfigurationError where it was the first, and the settings are at fault.

        Later the file of settings has changed while we run: what works goes on, and it is tried again.
        """
        if self.process is None or self.process.poll() is None:
            return
        code = self.process.returncode
        self.process = None
        self.pause.fell()
        self.ends += 1
        if code == ConfigurationError.exit_code and self.ends == 1:
            raise ConfigurationError(f"the {self.role} cannot start with these settings: see its line above")
        log.error("ended, will restart", extra={"role": self.role, "exit_code": code})


@dataclass(kw_only=True)
class StopSignals:
    """How often SIGTERM or SIGINT came: the first is a wish to stop, the second one for at once."""

    times: int = 0

    def __call__(self, _signal: int, _frame: object) -> None:
        self.times += 1


def run(settings: Settings) -> None:
    """Make folders and schema, then run every process until a signal. Raises WorkerError where that is impossible."""
    make_folder(settings.home, "XRAYQ_HOME")
    make_folder(settings.spool_folder, variable_of_spool(settings))
    must_be_folder(settings.reports, "XRAYQ_REPORT_FOLDER")
    schema.upgrade(make_engine(settings.database, settings.database_timeout))
    database = open_database(settings, writes=True)
    with reading(database) as connection:
        bundle_must_be_there(settings, activated=in_service(connection)[0] is not None)
        log.info(f"results: {outlook(connection, routes_of(settings.results_to))}")
    database.dispose()
    supervise(settings)


def bundle_must_be_there(settings: Settings, *, activated: bool) -> None:
    """Raises ConfigurationError: else a worker would fall and be started again for ever."""
    if settings.bundle and not activated and not (settings.bundle / MANIFEST).is_file():
        raise ConfigurationError(f"XRAYQ_BUNDLE: {settings.bundle} has no {MANIFEST}: name the folder of a bundle")


def supervise(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. The schema must be up to date. Raises WorkerError where it cannot start."""
    signals = StopSignals()
    signal.signal(signal.SIGTERM, signals)
    signal.signal(signal.SIGINT, signals)
    environment = dict(os.environ)
    lock = _lock(settings.home)
    if settings.port:
        _free(settings.local_host, settings.port)
    if settings.tls_port:
        _free(settings.host, settings.tls_port)
    if settings.stow:
        _free(listening_place(settings.stow).host, listening_place(settings.stow).port)
    if settings.web:
        _free(listening_place(settings.web).host, listening_place(settings.web).port)
    redis = None if settings.redis_url else RedisServer(settings.home)
    redis_pause = Pause(longest=LONGEST_PAUSE_ELSE)
    children = [
        Child(
            role=role,
            command=[sys.executable, "-m", "worker.cli", role],
            pause=Pause(longest=LONGEST_PAUSE.get(role, LONGEST_PAUSE_ELSE)),
        )
        for role in (WITH_PAGE if settings.web else ROLES)
    ]
    try:
        if redis:
            redis.start()
            redis_pause.started()
            environment["XRAYQ_REDIS_URL"] = redis.url
        while not signals.times:
            if redis and not redis.running and redis_pause.over:
                _start_again(redis, redis_pause)
            for child in children:
                child.look()
                if child.process is None and child.pause.over:
                    child.start(environment)
            time.sleep(0.1)
    finally:
        _stop(children, signals)
        if redis:
            redis.stop()
        os.close(lock)
        log.info("stopped")


def _start_again(redis: RedisServer, pause: Pause) -> None:
    """Receiving goes on without Redis, so one that does not start is tried again."""
    log.error("ended, will restart", extra={"role": "redis"})
    pause.fell()
    try:
        redis.start()
    except Unhealthy as error:
        log.error(str(error), extra={"role": "redis"})
    pause.started()


def _lock(home: Path) -> int:
    """One `up` for each home. Raises Unhealthy when another holds it."""
    try:
        descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unhealthy(f"cannot write {error.filename}: {error.strerror}") from None
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
                    raise cannot_listen(host, port, error) from None
        time.sleep(0.1)


def _stop(children: list[Child], signals: StopSignals) -> None:
    """SIGTERM to all. Who is not gone within STOP_SECONDS, or at the next signal, is killed: that loses nothing."""
    running = {child.role: child.process for child in children if child.process and child.process.poll() is None}
    for process in running.values():
        process.terminate()
    deadline, before = time.monotonic() + STOP_SECONDS, signals.times
    while any(process.poll() is None for process in running.values()):
        if time.monotonic() > deadline or signals.times > before:
            break
        time.sleep(0.05)
    for role, process in running.items():
        if process.poll() is None:
            log.warning("did not end, killed", extra={"role": role, "pid": process.pid})
            process.kill()
            process.wait()
