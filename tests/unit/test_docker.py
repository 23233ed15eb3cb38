"""docker/ is right as far as that shows without a container engine: linted, resolved, and nothing named that is not."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.images import (
    COMPOSE,
    DOCKERFILES,
    FOLDER,
    PASSWORDS,
    ROOT,
    Stage,
    health,
    installed,
    resolve,
    services,
    stages,
)
from tests.unit.test_docs import VARIABLES
from tests.unit.worker.cli.test_cli import commands
from worker.status.doctor import CHECKS

OUR_USER = "10001:10001"
IMAGES = {  # what runs, by Dockerfile and target
    "gateway": ("gateway.Dockerfile", ""),
    "worker": ("worker.Dockerfile", "cpu"),
    "worker-gpu": ("worker.Dockerfile", "gpu"),
}
PROCESSES = {*IMAGES, "relay", "migrate"}
ONE_SHOT = {"migrate"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = FOLDER / "README.md"


def image(service: str) -> Stage:
    file, target = IMAGES[service if service in IMAGES else "gateway"]
    return stages(FOLDER / file)[target]


def each(*left_out: str) -> Any:
    return pytest.mark.parametrize("name", sorted({*PROCESSES, "postgres", "redis"} - set(left_out)))


# Dockerfiles


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_is_content(path: Path) -> None:
    done = subprocess.run([installed("hadolint"), "--failure-threshold", "style", str(path)], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_bases_are_pinned(path: Path) -> None:
    found = stages(path)
    bases = {one.base for one in found.values()} - set(found)
    assert [base for base in bases if not re.fullmatch(r"[a-z/]+:\d+\.\d+[\w.-]*", base)] == []


@pytest.mark.parametrize("name", IMAGES)
def test_image_runs_one_role_without_root(name: str) -> None:
    made = image(name)
    assert made.last("USER") == OUR_USER
    assert made.steps.index(("USER", OUR_USER)) > max(
        index for index, (step, _) in enumerate(made.steps) if step in ("RUN", "COPY")
    )
    role = name.partition("-")[0]
    assert json.loads(made.last("ENTRYPOINT")) == ["xrayq"]
    assert json.loads(made.last("CMD")) == [role]
    assert made.last("HEALTHCHECK").endswith(f'CMD ["xrayq", "health", "{role}"]')
    assert "EXPOSE" not in dict(made.steps) or made.last("EXPOSE") == "11112"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_torch_is_in_no_image(path: Path) -> None:
    shown = path.read_text(encoding="utf-8")
    assert re.findall(r"pip install.*(?:torch|train|\.\[)", shown) == []
    base = " ".join(PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["gpu"])
    assert "torch" not in base


def test_only_the_gpu_image_has_cuda() -> None:
    for path in DOCKERFILES:
        for name, one in stages(path).items():
            assert (one.base.startswith(("nvidia/", "gpu-"))) == name.startswith("gpu"), name


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_build_gets_what_it_copies(path: Path) -> None:
    """Everything the wheel is made of is copied, exists, and is let through by .dockerignore."""
    copied = {
        source
        for one in stages(path).values()
        for value in one.values("COPY")
        if not value.startswith("--from")
        for source in value.split()[:-1]
    }
    wheel = {*PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml", "README.md"}
    assert wheel | {*PROJECT["project"]["license-files"]} <= copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    ignored, *let_through = (
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    )
    assert ignored == "*"
    assert [source for source in copied if f"!{source}" not in let_through] == []


def test_tensorrt_comes_from_nvidia_as_wheels() -> None:
    lines = (FOLDER / "requirements-tensorrt.txt").read_text().splitlines()
    assert "--extra-index-url https://pypi.nvidia.com" in lines
    assert "--only-binary tensorrt-cu13-bindings,tensorrt-cu13-libs" in lines
    (wanted,) = (line for line in lines if line.startswith("tensorrt"))
    assert re.fullmatch(r"tensorrt-cu13==\d+\.\d+\.\d+\.\d+", wanted)


# compose.yaml


def test_compose_has_what_the_service_needs() -> None:
    assert set(services()) == PROCESSES | {"postgres", "redis"}


@pytest.mark.parametrize("name", PASSWORDS)
@pytest.mark.parametrize("value", [None, ""])
def test_no_password_has_a_default(name: str, value: str | None) -> None:
    given = {other: text for other, text in PASSWORDS.items() if other != name}
    done = resolve(**given | ({} if value is None else {name: value}))
    assert done.returncode != 0
    assert f"required variable {name} is missing a value: set it in docker/.env" in done.stderr


def test_env_example_sets_no_password_and_names_what_compose_reads() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "env.example").read_text(), re.MULTILINE))
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE.read_text()))
    assert {name: example[name] for name in PASSWORDS} == dict.fromkeys(PASSWORDS, "")
    assert read == {name for name in example if not name.startswith("XRAYQ_")}


@each()
def test_service_can_do_little(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service) == set()
    assert [one for one in service.get("volumes", []) if one["type"] != "volume"] == []
    assert name in PROCESSES or service["user"] == name.replace("sql", "")


WAYS_OUT = {"gateway": {"dicom"}, "relay": {"alarms"}}
"""Networks beside `inside`: the PACS reaches the gateway; the relay reaches the mail server and the webhook."""


@each()
def test_only_the_gateway_is_reached_from_outside(name: str) -> None:
    service = services()[name]
    assert set(service["networks"]) == {"inside"} | WAYS_OUT.get(name, set())
    assert [one["target"] for one in service.get("ports", [])] == ([11112] if name == "gateway" else [])
    assert all(one["host_ip"] == "127.0.0.1" for one in service.get("ports", []))


def test_networks_lead_where_they_say() -> None:
    networks = json.loads(resolve(**PASSWORDS).stdout)["networks"]
    assert {name for name, one in networks.items() if not one.get("internal")} == {"dicom", "alarms"}
    assert set(networks) == {"inside", "dicom", "alarms"}


def test_the_relay_has_the_gateways_spool_and_may_write_to_it() -> None:
    """What a backfill by C-GET brings comes to the relay."""
    mounts = {name: one.get("volumes", []) for name, one in services().items()}
    places = {name: [(one["source"], one["target"]) for one in found] for name, found in mounts.items()}
    spool = ("spool", "/var/lib/xrayq/spool")
    assert places["gateway"] == [spool]
    assert places["relay"] == [spool, ("reports", "/var/lib/xrayq/reports")]
    read_only = {(name, one["source"]) for name, found in mounts.items() for one in found if one.get("read_only")}
    assert read_only == set()


@each()
def test_service_starts_again_and_is_looked_at(name: str) -> None:
    service = services()[name]
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert service["healthcheck"].get("disable", False) == (name in ONE_SHOT)
    if name in IMAGES or name == "relay":
        assert health(service) == ["xrayq", "health", name.partition("-")[0]]


@each("postgres", "redis")
def test_nothing_starts_before_what_it_needs(name: str) -> None:
    conditions = {other: one["condition"] for other, one in services()[name]["depends_on"].items()}
    after = {"migrate": "service_completed_successfully"}
    if name in ("relay", "worker", "worker-gpu"):
        after |= {"redis": "service_healthy"}
    assert conditions == ({"postgres": "service_healthy"} if name == "migrate" else after)


@each("postgres", "redis")
def test_what_is_mounted_belongs_to_our_user(name: str) -> None:
    """A new volume takes its owner from the folder in the image, so the image must have made it."""
    service, made = services()[name], image(name)
    folders = {word for run in made.runs() if "install --directory --owner=xrayq" in run for word in run.split()}
    mounted = {one["target"] for one in service.get("volumes", [])}
    mounted |= {one.partition(":")[0] for one in service["tmpfs"]} - {"/tmp"}
    assert mounted <= folders
    assert f"useradd --uid {OUR_USER.split(':')[0]} " in " ".join(made.runs())
    assert all("uid=10001,gid=10001" in one for one in service["tmpfs"] if one != "/tmp")


@each("postgres", "redis")
def test_image_is_this_version(name: str) -> None:
    service = services()[name]
    assert service["image"].endswith(f":{PROJECT['project']['version']}")
    if name in IMAGES:
        file, target = IMAGES[name]
        assert service["build"]["dockerfile"] == f"docker/{file}"
        assert service["build"].get("target", "") == target


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    usual = json.loads(resolve(**PASSWORDS).stdout)["services"]
    assert set(services()) - set(usual) == {"worker-gpu"}
    assert [name for name, service in services().items() if "deploy" in service] == ["worker-gpu"]


# what they name


def test_every_setting_exists() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FOLDER.iterdir() if path.is_file()]
    named = {name for text in texts for name in re.findall(r"\bXRAYQ_[A-Z0-9_]*[A-Z0-9]", text)}
    assert named - VARIABLES == set()


def command_lines() -> set[str]:
    """Every xrayq command line in Dockerfiles, compose.yaml and README.md."""
    run = {f"xrayq {' '.join(one['command'])}" for name, one in services().items() if name in PROCESSES}
    probes = {" ".join(health(one)) for name, one in services().items() if name in PROCESSES - ONE_SHOT}
    prose = set(re.findall(r"\b(xrayq [a-z][\w ./-]*)", " ".join(re.findall(r"`([^`]+)`", README.read_text()))))
    after_exec = re.findall(r"(?:exec|run)(?: --?[\w-]+)* \S+ (xrayq [^|>\n`]+)", README.read_text())
    return run | probes | prose | {line.strip() for line in after_exec}


def test_every_command_parses() -> None:
    wrong = {}
    for line in command_lines():
        _, *words = line.split()
        for size in (1, 2):
            if " ".join(words[:size]) in commands():
                commands()[" ".join(words[:size])].make_context("xrayq", words[size:])
                break
        else:
            wrong[line] = "no such command"
    assert wrong == {}


# README.md


def test_readme_explains_every_check_of_doctor() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in CHECKS if name not in rows] == []


def test_readme_names_services_volumes_and_variables() -> None:
    text = README.read_text(encoding="utf-8")
    example = re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(), re.MULTILINE)
    volumes = json.loads(resolve("gpu", **PASSWORDS).stdout)["volumes"]
    missing = [word for word in (*services(), *volumes, *example) if f"`{word}`" not in text]
    assert missing == []


def test_readme_makes_the_passwords_compose_needs(tmp_path: Path) -> None:
    (line,) = (line for line in README.read_text(encoding="utf-8").splitlines() if line.endswith("> docker/.env)"))
    (tmp_path / "docker").mkdir()
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, timeout=30)
    made = tmp_path / "docker" / ".env"
    assert made.stat().st_mode & 0o077 == 0
    given = dict(line.split("=") for line in made.read_text().splitlines())
    assert {name: len(value) for name, value in given.items()} == dict.fromkeys(PASSWORDS, 48)
    assert resolve(**given).returncode == 0


def test_readme_commands_name_services_that_exist() -> None:
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"docker compose (.*)", text):
        for verb in re.findall(r"\b(?:exec|run|logs|restart|stop)(?: -\S+(?: tar)?)* ([a-z-]+)", line):
            assert verb in services(), line
        for scaled in re.findall(r"--scale ([a-z-]+)=", line):
            assert scaled in services(), line
