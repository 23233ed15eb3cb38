"""What the four packages import is declared in pyproject.toml, and the base install does without the extras."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("worker", "dicom_gateway", "model", "migrations")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BROUGHT = {"cuda": "cuda-python"}
"""Imported name -> what is declared and brings it."""
NVIDIAS = {"tensorrt", "tensorrt_rtx"}
"""From NVIDIA's index or container, as the comment beside the extra `gpu` says."""
EXTRA_ONLY = ("matplotlib", "onnxscript", "scipy", "sklearn", "torch", "torchvision", "cuda")
USED_WITHOUT_EXTRAS = (
    "worker.cli", "worker.cli.processes", "worker.processes.endpoints", "worker.processes.relay_tasks",
    "worker.scoring.task", "worker.bundles.loaded", "worker.status.doctor", "worker.monitoring.drift",
    "worker.bundles.replay", "worker.monitoring.comparison", "worker.monitoring.labels", "worker.nightly.content",
    "worker.nightly.run", "worker.alarms.rules", "worker.status.view", "worker.processes.up", "worker.demo",
    "dicom_gateway.scp", "model.bundle", "model.scorer", "model.gate.rules", "model.stats.shift",
    "model.engine.choose", "model.data.prepare", "worker.processes.gateway", "worker.processes.relay",
    "worker.processes.worker", "worker.processes.push", "worker.http_push.server",
    "worker.evidence.pack", "worker.evidence.verify",
)  # fmt: skip


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def declared() -> set[str]:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name, every in extras.items() if name != "dev" for line in every)]
    return {plain(re.match(r"[\w.-]+", line)[0]) for line in lines}  # type: ignore[index]


def imported(tree: ast.AST) -> Iterator[str]:
    """First names of what is imported, types alone left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        yield from imported(node)


distributions = cache(packages_distributions)


@cache
def libraries() -> dict[str, str]:
    """Imported name -> a file that imports it."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = {name: str(file) for file in files for name in imported(ast.parse(file.read_text(encoding="utf-8")))}
    return {name: file for name, file in found.items() if name not in (*sys.stdlib_module_names, *PACKAGES, *NVIDIAS)}


@pytest.mark.parametrize("name", libraries())
def test_what_is_imported_is_declared(name: str) -> None:
    brings = {plain(one) for one in distributions().get(name, [])} | {BROUGHT.get(name, "")}
    assert brings & declared(), f"{name}, which {libraries()[name]} imports, is not declared in pyproject.toml"


def test_the_base_install_does_without_the_extras() -> None:
    imports = ", ".join(USED_WITHOUT_EXTRAS)
    script = f"import sys; sys.modules |= dict.fromkeys({EXTRA_ONLY}); import {imports}"  # importing those fails
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
