"""The command line from outside: help, speed, exit codes, JSON."""

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from model.bundle import MANIFEST, MODEL, REFERENCE, SHIPPED
from tests.services import environment, typed, typed_in
from worker.cli import app
from worker.cli.train import command_line
from worker.errors import EXIT_CODES, WorkerError
from worker.states import State

HEAVY = {"torch", "sqlalchemy", "pydicom", "celery", "numpy", "cv2", "onnxruntime", "pydantic", "redis", "alembic"}
DECODERS = ("PIL", "cv2", "imagecodecs", "rle")
PACKAGES = ("worker", "dicom_gateway", "model", "migrations")
WITHOUT_EXAMPLE = {"gateway", "relay", "worker", "web"}
ROOT = Path(__file__).parents[4]


def commands() -> dict[str, Any]:
    """Every command by its words, groups left out. (Some versions of typer bring their own click.)"""

    def walk(command: Any, words: tuple[str, ...]) -> dict[str, Any]:
        if not hasattr(command, "commands"):
            return {" ".join(words): command}
        return {
            found: one for name, child in command.commands.items() for found, one in walk(child, (*words, name)).items()
        }

    return walk(typer.main.get_command(app), ())


def started(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *words],
        env=environment(**settings) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture
def shipped() -> Path:
    if not (REFERENCE / MANIFEST).is_file():
        pytest.skip("no shipped bundle: 'xrayq train' makes one")
    return REFERENCE


# help


@pytest.mark.parametrize("words", commands())
def test_every_command_has_help_with_an_example(words: str) -> None:
    shown = CliRunner().invoke(app, [*words.split(), "--help"], prog_name="xrayq", env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert shown.exception is None
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[1].startswith(f"Usage: xrayq {words}")
    examples = [line for line in lines if line.startswith(("xrayq ", "XRAYQ_"))]
    assert bool(examples) != (words in WITHOUT_EXAMPLE)
    assert all(f"xrayq {words}" in line for line in examples[:1])


@pytest.mark.parametrize("words", commands())
def test_every_parameter_is_explained(words: str) -> None:
    assert [one.name for one in commands()[words].params if not getattr(one, "help", None)] == []


def test_version() -> None:
    shown = CliRunner().invoke(app, ["--version"], prog_name="xrayq")
    assert (shown.exit_code, shown.stdout) == (0, f"xrayq {version('xrayq')}\n")


@pytest.mark.parametrize(
    ("typed_so_far", "offered"),
    [("xrayq inst", {"instance"}), ("xrayq instance s", {"show"}), ("xrayq instance list --state s", {"scored"})],
)
def test_the_shell_completes_without_anything_heavy(typed_so_far: str, offered: set[str]) -> None:
    asked = {
        "_XRAYQ_COMPLETE": "complete_bash",
        "COMP_WORDS": typed_so_far,
        "COMP_CWORD": str(len(typed_so_far.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "worker.cli"],
        cwd=ROOT,
        env=environment() | asked,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert set(done.stdout.split()) == offered, done.stderr[-500:]
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert imported & HEAVY <= {"pydantic"}  # some versions of typer read a command line with it


def test_help_sends_with_what_is_here_first() -> None:
    """`storescu` of a virtual environment is pynetdicom's, and DCMTK may not be installed."""
    text = CliRunner().invoke(app, ["--help"], prog_name="xrayq", env={"COLUMNS": "200"}).stdout
    assert "storescu" not in text
    assert text.index("xrayq submit film.dcm") < text.index("dcmsend")
    assert re.search(r"DCMTK.*dcmsend 127", text)


def test_help_of_everything() -> None:
    shown = CliRunner().invoke(app, ["--help"], prog_name="xrayq", env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert [word for words in commands() if (word := words.split()[0]) not in text] == []
    assert [code for code, meaning in EXIT_CODES.items() if f"{code} {meaning}" not in text] == []


def test_help_is_quick() -> None:
    """By the processor's time, which other work of the machine does not lengthen much."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert started("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.6


def test_the_command_line_imports_nothing_heavy() -> None:
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import worker.cli"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in traced.stderr.splitlines()}
    assert {"worker", "typer"} <= imported
    assert imported & HEAVY == set()


WITHOUT_DECODERS = f"""
import sys
sys.modules |= dict.fromkeys({DECODERS})  # importing them fails
from worker.cli import main
main()
"""


@pytest.mark.parametrize("words", ["gateway", "relay", "doctor"])
def test_the_gateways_image_needs_no_decoder(words: str, tmp_path: Path) -> None:
    """Past its imports each misses the database."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DECODERS, words],
        cwd=ROOT,
        env=environment(home=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (done.returncode, "no database at" in done.stdout + done.stderr) == (5, True), done.stderr


IMPORT_EVERYTHING = """
import importlib, os, pkgutil, socket, sys, threading, warnings
import wsgiref.handlers  # the standard library's, by way of prometheus_client, copies the whole environment
def refuse(*_):
    raise AssertionError("opened a socket")
before = list(warnings.filters)
sys.addaudithook(lambda event, _: refuse() if event.startswith("socket.") and event != "socket.gethostname" else None)
read = []
class Watched(type(os.environ)):
    def __getitem__(self, name):
        read.append(name)
        return super().__getitem__(name)
os.environ.__class__ = Watched
names = []
for package in sys.argv[1:]:
    for module in pkgutil.walk_packages([package], package + "."):
        if module.name.startswith("migrations.") or module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
        names.append(module.name)
print(len(names), threading.active_count(), [name for name in read if name.startswith("XRAYQ_")])
"""


@pytest.mark.slow
def test_imports_do_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING, *PACKAGES],
        cwd=ROOT,
        env=environment(port="garbage", config="/nowhere/xrayq.toml", database_url="garbage"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    count, threads, read = done.stdout.split(maxsplit=2)
    assert int(count) > 40
    assert (threads, read.strip()) == ("1", "[]")


# exit codes


def test_exit_codes_are_the_errors() -> None:
    def classes(base: type[WorkerError]) -> list[type[WorkerError]]:
        return [base, *(one for child in base.__subclasses__() for one in classes(child))]

    assert {one.exit_code for one in classes(WorkerError)} | {0} == set(EXIT_CODES)


def altered(folder: Path) -> str:
    """A copy of the shipped bundle with one byte of its network changed."""
    copy = Path(shutil.copytree(REFERENCE, folder / "altered"))
    with (copy / MODEL).open("r+b") as handle:
        handle.seek(1000)
        byte = handle.read(1)
        handle.seek(1000)
        handle.write(bytes([byte[0] ^ 1]))
    return str(copy)


TABLE: list[tuple[str, dict[str, str], int, str]] = [
    ("bundle show nonexist", {}, 3, "no bundle nonexist"),
    ("bundle verify nonexist", {}, 3, "no bundle nonexist"),
    ("bundle verify .", {}, 3, ". is not a bundle, it has no manifest.json: 'xrayq bundle list'"),
    ("bundle list", {"bundle": "/nowhere"}, 3, "no bundle /nowhere"),
    ("bundle status", {}, 5, "no database at"),
    ("bundle activate reference", {}, 5, "no database at"),
    ("bundle rollback", {}, 5, "no database at"),
    ("bundle compare", {}, 5, "no database at"),
    ("instance replay 1", {}, 5, "no database at"),
    ("instance list", {}, 5, "no database at"),
    ("instance show 1", {}, 5, "no database at"),
    ("instance list --state done", {}, 2, "--state is one of quarantined, received"),
    ("health foo", {}, 2, "xrayq: PROCESS is one of gateway, relay, worker\n"),
    ("health gatewy", {}, 2, "xrayq: PROCESS is one of gateway, relay, worker. Did you mean gateway?"),
    ("compile --precision int4", {}, 2, "xrayq: --precision is one of int8, fp16. Did you mean int8?"),
    ("status --once", {"time_zone": "Europe/Berln"}, 2, "xrayq: XRAYQ_TIME_ZONE names no time zone of this machine"),
    ("bundle list", {"foo": "1"}, 2, "xrayq: settings: XRAYQ_FOO is not a setting; worker/SETTINGS.md lists them\n"),
    ("bundle list", {"foo": "1", "prot": "1"}, 2, "lists them. Did you mean XRAYQ_PORT?"),
    ("instance list --state scord", {}, 2, "ineligible, failed. Did you mean scored?"),
    ("bundle show refrence", {}, 3, "nor a folder. Did you mean reference?"),
    ("bundle list", {"spol": "/srv/spool"}, 2, "worker/SETTINGS.md lists them. Did you mean XRAYQ_SPOOL?"),
    ("db check", {}, 5, "no database at"),
    ("relay", {}, 5, "no database at"),
    ("worker", {}, 2, "XRAYQ_REDIS_URL is not set"),
    ("gateway", {}, 5, "no database at"),
    ("demo --films /nowhere", {}, 3, "no such folder or file: /nowhere"),
    ("prepare /nowhere", {}, 3, "no such folder or file: /nowhere"),
    ("pretrain /nowhere", {}, 3, "no such folder or file: /nowhere"),
    ("pretrain . --out broken.toml", {}, 2, "xrayq: broken.toml exists: choose another --out"),
    ("train /nowhere", {}, 3, "no such folder or file: /nowhere: run 'xrayq prepare' first"),
    ("gate train /nowhere", {}, 3, "no such folder or file: /nowhere: run 'xrayq prepare' first"),
    ("study calibration --films /nowhere", {}, 3, "no such folder or file: /nowhere: run 'xrayq prepare' first"),
    ("instance list", {"port": "garbage"}, 2, "XRAYQ_PORT should "),
    ("bundle list", {"port": "70000"}, 2, "XRAYQ_PORT should "),
    ("bundle list", {"batch_size": "0", "min_age": "-1"}, 2, "XRAYQ_BATCH_SIZE should "),
    ("doctor", {"log_format": "xml"}, 2, "XRAYQ_LOG_FORMAT should "),
    ("health gateway", {"gateway_http_port": "1"}, 5, "no gateway answers on port 1: start 'xrayq up'"),
    ("health relay", {}, 2, "XRAYQ_RELAY_HTTP_PORT is 0"),
    ("health worker", {"worker_http_port": "-1"}, 2, "XRAYQ_WORKER_HTTP_PORT should "),
    ("gateway", {"ae_title": ""}, 2, "XRAYQ_AE_TITLE should "),
    ("up", {"ae_title": "SEVENTEEN LETTERS"}, 2, "XRAYQ_AE_TITLE should "),
    ("relay", {"lease_seconds": "-1"}, 2, "XRAYQ_LEASE_SECONDS should "),
    ("worker", {"decode_memory_mib": "1"}, 2, "XRAYQ_DECODE_MEMORY_MIB should "),
    ("db upgrade", {"poll_seconds": "soon"}, 2, "XRAYQ_POLL_SECONDS should "),
    ("submit film.dcm", {"spool_reserve_mib": "-1"}, 2, "XRAYQ_SPOOL_RESERVE_MIB should "),
    ("bundle list", {"config": "broken.toml"}, 2, "xrayq: settings file broken.toml is no TOML: "),
    ("bundle list", {"report_time": "25:00"}, 2, "xrayq: XRAYQ_REPORT_TIME should be HH:MM, or empty"),
    ("bundle list", {"smtp_host": "mail"}, 2, "xrayq: XRAYQ_SMTP_HOST needs XRAYQ_MAIL_FROM and XRAYQ_MAIL_TO"),
    ("bundle list", {"engine": "fast"}, 2, "xrayq: XRAYQ_ENGINE should be 'auto', "),
    ("bundle list", {"config": "unknown.toml"}, 2, "lists them. Did you mean port?"),
    ("bundle list", {"config": "unknown.toml"}, 2, "xrayq: prot in unknown.toml is not a setting"),
    (
        "worker",
        {"redis_url": "http://cache:6379/0"},
        2,
        "XRAYQ_REDIS_URL should begin with redis://, rediss:// or",
    ),
    ("relay", {"redis_url": "memcached://cache"}, 2, "XRAYQ_REDIS_URL should begin with "),
    ("up", {"redis_url": "redis://:SECRET@cache:99999/0"}, 2, "XRAYQ_REDIS_URL has no such port"),
    ("doctor", {"redis_url": "redis://cache/films"}, 2, "XRAYQ_REDIS_URL should end with the number of a database"),
    ("gateway", {"ae_title": "A\\B"}, 2, "XRAYQ_AE_TITLE should have letters"),
    ("gateway", {"ae_title": "RÖNTGEN"}, 2, "XRAYQ_AE_TITLE should have letters"),
    (
        "status --once",
        {"calling_aes": "PACS,SEVENTEEN LETTERS,AN EIGHTEEN LETTERS"},
        2,
        "xrayq: XRAYQ_CALLING_AES should be an AE title of 1 to 16 characters\n",
    ),
    (
        "alarm rules",
        {"mail_to": "ann@pacs.example,nobody"},
        2,
        "xrayq: XRAYQ_MAIL_TO should be mail addresses, such as ",
    ),
    ("doctor", {"home": "~nobody-of-this-name/xrayq"}, 2, "XRAYQ_HOME begins with ~ and no home folder is known"),
    ("gateway", {"spool": "/tmp/" + "x" * 300}, 2, "XRAYQ_SPOOL has a name of more than 255 bytes"),
    ("up", {"home": "broken.toml"}, 2, "broken.toml is a file and not a folder"),
    ("up", {"home": "broken.toml/sub"}, 2, "broken.toml is a file and not a folder"),
    ("up", {"home": "nowhere"}, 2, "nowhere is a link to something that is not there"),
    ("up", {"home": "/proc/xrayq"}, 2, "XRAYQ_HOME: cannot use /proc/xrayq: "),
    ("db upgrade", {"home": "broken.toml/sub"}, 2, "broken.toml is a file and not a folder"),
    ("demo --home broken.toml", {}, 2, "broken.toml is a file and not a folder"),
    ("bundle list", {"config": "/tmp/" + "x" * 300}, 2, "File name too long"),
    ("instance list", {"database_url": "garbage"}, 2, "database_url"),
    ("instance list", {"database_url": "mysql://a/b"}, 2, "database_url"),
    ("db upgrade", {"database_url": "garbage"}, 2, "database_url"),
    ("db check", {"database_url": "postgresql://nobody@127.0.0.1:1/x"}, 5, "nobody listens there (connection refused)"),
]


@pytest.mark.parametrize(("words", "settings", "code", "message"), TABLE)
def test_failure_is_one_line_and_its_exit_code(
    tmp_path: Path, words: str, settings: dict[str, str], code: int, message: str
) -> None:
    (tmp_path / "broken.toml").write_text("port = \n")
    (tmp_path / "unknown.toml").write_text("prot = 104\n")
    (tmp_path / "nowhere").symlink_to("/nowhere/at/all")
    done = typed(*words.split(), cwd=tmp_path, **{"home": str(tmp_path / "home"), **settings})
    assert "SECRET" not in done.stderr
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("xrayq: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("words", ["up", "gateway", "worker", "submit film.dcm"])
@pytest.mark.parametrize("place", ["file", "file/spool", "link", "/proc/spool"])
def test_a_spool_that_cannot_be_is_one_line(tmp_path: Path, words: str, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "link").symlink_to("/nowhere/at/all")
    home = {"home": str(tmp_path / "home")}
    assert typed("db", "upgrade", **home).returncode == 0
    if words == "worker" and place == "/proc/spool":
        pytest.skip("a worker starts without: the gateway makes the spool")
    redis = {"redis_url": "redis://127.0.0.1:1/0"} if words == "worker" else {}
    done = typed(*words.split(), cwd=tmp_path, spool=place, **home, **redis)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("xrayq: XRAYQ_SPOOL: ")


@pytest.mark.parametrize(
    "words", ["nonsense", "bundle nonsense", "instance show", "instance list --nonsense", "health"]
)
def test_wrong_usage(words: str) -> None:
    done = typed(*words.split())
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "meant"),
    [("instnce list", "'instance'"), ("instance lst", "'list'"), ("instance list --sttate x", "--state")],
)
def test_a_wrong_word_is_answered_with_the_one_that_was_meant(words: str, meant: str) -> None:
    assert meant in typed(*words.split()).stderr


def test_settings_error_names_every_wrong_setting(tmp_path: Path) -> None:
    done = typed("bundle", "list", batch_size="0", min_age="-1")
    assert done.stderr.count("\n") == 1
    assert "XRAYQ_BATCH_SIZE should be greater than 0" in done.stderr
    assert "XRAYQ_MIN_AGE should be " in done.stderr


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty database."""
    home = tmp_path_factory.mktemp("empty") / "home"
    made = typed("db", "upgrade", home=str(home))
    assert made.returncode == 0, made.stderr
    assert home.stat().st_mode & 0o077 == 0
    return home


@pytest.mark.parametrize("action", ["show", "requeue", "reject", "replay"])
@pytest.mark.parametrize("name", ["1", "1.2.3", "nonsense", "²", "99999999999999999999999"])
def test_unknown_instance(empty: Path, tmp_path: Path, action: str, name: str) -> None:
    with typed_in(tmp_path, home=str(empty)) as run:
        code, _, problems = run("instance", action, name)
    assert (code, problems.count("\n")) == (3, 1), problems
    assert f"no instance {name}" in problems


def test_bundles_in_service_from_outside(shipped: Path, tmp_path: Path) -> None:
    home = {"home": str(tmp_path / "home")}
    with typed_in(tmp_path, **home) as run:
        assert run("db", "upgrade")[0] == 0
        for words, code, message in (
            ("activate nonexist", 3, "no bundle nonexist"),
            ("activate .", 3, ". is not a bundle"),
            ("shadow reference", 4, "is live or a shadow already"),
            ("retire 123456789abc", 3, "no bundle in service begins with 123456789abc"),
            ("rollback", 4, "no live bundle before"),
        ):
            found, _, problems = run("bundle", *words.split())
            assert (found, problems.count("\n")) == (code, 1), problems
            assert message in problems
        assert run("bundle", "activate", "reference")[0] == 0
    (row,) = json.loads(typed("bundle", "status", "--json", **home).stdout)
    assert (row["role"], row["path"], row["by"].partition(":")[0]) == ("live", "reference", "operator")


def test_empty_database(empty: Path, tmp_path: Path) -> None:
    with typed_in(tmp_path, home=str(empty)) as run:
        for state in State:
            assert run("instance", "list", "--state", state)[0] == 0
    home = {"home": str(empty)}
    assert json.loads(typed("instance", "list", "--json", **home).stdout) == []
    assert json.loads(typed("instance", "reasons", "--json", **home).stdout) == []
    checked = typed("db", "check", "--json", **home)
    assert checked.returncode == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert (report["schema"], report["differences"]) == (report["head"], [])
    relay = typed("relay", **home)
    assert (relay.returncode, "XRAYQ_REDIS_URL is not set" in relay.stderr) == (2, True), relay.stderr


# bundles


def test_bundle_commands_print_json(shipped: Path) -> None:
    listed, shown, verified = (
        typed("bundle", *words, "--json", log_format="json") for words in (["list"], ["show"], ["verify"])
    )
    assert (listed.returncode, shown.returncode, verified.returncode) == (0, 0, 0), verified.stderr
    (default,) = (row for row in json.loads(listed.stdout) if row["default"])
    one = json.loads(shown.stdout)
    checked = json.loads(verified.stdout)
    assert default["digest"] == one["digest"] == checked["digest"]
    assert Path(default["path"]) == SHIPPED / "reference"
    assert one["findings"] == ["normal", "pneumonia", "covid19"]
    assert {"metrics", "provenance", "calibration", "conformal", "parent", "operating_points", "preprocess"} <= set(one)
    assert checked["ok"] is True
    assert checked["engine"].startswith("onnxruntime-")


@pytest.mark.parametrize("words", ["list", "show", "verify", "show reference", "verify reference"])
def test_bundle_commands_print_for_people(shipped: Path, words: str) -> None:
    done = typed("bundle", *words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((shipped / MANIFEST).read_text())["name"] in done.stdout or str(shipped) in done.stdout


def test_a_bundles_rates_name_their_engine_and_the_films_of_their_thresholds(shipped: Path, tmp_path: Path) -> None:
    with typed_in(tmp_path) as run, pytest.MonkeyPatch.context() as patch:
        for columns in ("70", "132"):
            patch.setenv("COLUMNS", columns)
            _, out, _ = run("bundle", "show")
            engine = json.loads((shipped / MANIFEST).read_text())["provenance"]["calibrated"]["engine"]
            assert f"measured with {engine}; 'xrayq evaluate'" in " ".join(out.split())
            assert "val, chosen on it" in out
            assert "0.521 [0.40, 0.64] n=71" in out
            assert "{'" not in out
            assert "images/s" not in out


def test_the_inference_runtime_reports_to_nobody(shipped: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, when on, leaves a device id and its queue in the home folder."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", "bundle", "verify"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_altered_bundle_is_found_out(shipped: Path, tmp_path: Path) -> None:
    folder = altered(tmp_path)
    for words in (["verify", folder], ["show", folder], ["list"]):
        done = typed("bundle", *words, bundle=folder)
        assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
        assert "model.onnx was altered" in done.stderr


def test_output_into_a_closed_pipe_is_no_traceback(shipped: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", "bundle", "show", "--json"],
            env=environment(),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=180,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_usage_names_the_command_however_it_was_started() -> None:
    assert "Usage: xrayq instance show " in started("instance", "show").stderr


def test_up_says_at_once_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = started("up", "--port", port, home=str(tmp_path / "home"))
    assert (done.returncode, f"cannot listen on 127.0.0.1:{port}: " in done.stderr) == (5, True)
    assert "started" not in done.stderr


def test_a_bundle_whose_gate_lacks_a_measure_is_named(tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    shutil.copytree(REFERENCE, odd)
    manifest = json.loads((odd / MANIFEST).read_text())
    del manifest["gate"]["metrics"]["val"]["eligible_refused"]
    (odd / MANIFEST).write_text(json.dumps(manifest))
    shown = typed("bundle", "show", str(odd), cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (5, "")
    assert "gate of val cannot be read: eligible_refused" in shown.stderr
    looked = typed("doctor", "--json", cwd=tmp_path, home=str(tmp_path / "home"), bundle=str(odd))
    (found,) = [check for check in json.loads(looked.stdout) if check["check"] == "bundle"]
    assert (found["ok"], "eligible_refused" in found["text"]) == (False, True)


def test_the_command_of_a_record_has_no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    typed_words = (
        "evaluate /data/films/ --unseen /data/aux/=openist:normal --out=/runs/x --hold-out 0.1 --set sizes=[[160,4]]"
    )
    monkeypatch.setattr("sys.argv", ["/bin/xrayq", *typed_words.split()])
    recorded = "xrayq evaluate films --unseen aux=openist:normal --out=x --hold-out 0.1 --set sizes=[[160,4]]"
    assert command_line() == recorded
