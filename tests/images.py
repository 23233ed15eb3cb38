"""What docker/ says: Dockerfiles as stages, compose.yaml as Docker Compose itself resolves it."""

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from tests.services import REQUIRED

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
COMPOSE = FOLDER / "compose.yaml"
PASSWORDS = {"POSTGRES_PASSWORD": "pg0secret", "REDIS_PASSWORD": "redis0secret"}


def installed(name: str) -> str:
    """A program that the dev extra brings. Missing: skips, or fails where XRAYQ_REQUIRE_SERVICES=1."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"{name} is not installed (pip install '.[dev]')")
    return str(found)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    steps: tuple[tuple[str, str], ...]
    """(instruction, value), continuation lines joined."""

    def values(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        return self.values(instruction)[-1]

    def runs(self) -> list[str]:
        """What RUN gives the shell, without its own flags."""
        return [re.sub(r"^(--\S+\s+)+", "", value) for value in self.values("RUN")]

    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for value in self.values("ENV") for word in value.split())


def stages(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile by name; the last one is also ''."""
    made: dict[str, Stage] = {}
    steps: list[tuple[str, str]] = []
    name = base = ""
    parsed = DockerfileParser(fileobj=io.BytesIO(path.read_bytes())).structure
    for step in [*parsed, {"instruction": "FROM", "value": "end"}]:
        if step["instruction"] == "FROM":
            if base:
                made[name] = made[""] = Stage(name=name, base=base, steps=tuple(steps))
            base, _, name = step["value"].partition(" AS ")
            steps = []
        elif step["instruction"] != "COMMENT":
            steps.append((step["instruction"], step["value"]))
    return made


def resolve(*profiles: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config` on compose.yaml with these variables and no .env."""
    with tempfile.TemporaryDirectory() as nowhere:
        command = [installed("docker-compose"), "--file", str(COMPOSE), "--project-directory", nowhere]
        command += [word for profile in profiles for word in ("--profile", profile)]
        return subprocess.run(
            [*command, "config", "--format", "json"],
            env={"PATH": "/usr/bin:/bin", "HOME": nowhere} | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )


@cache
def services() -> dict[str, Any]:
    """Every service as Docker Compose resolves it, `$$` turned into the `$` that a container gets."""
    done = resolve("gpu", **PASSWORDS)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))["services"]
    return found


def health(service: dict[str, Any]) -> list[str]:
    """The command of a health check."""
    kind, *words = service["healthcheck"]["test"]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words
