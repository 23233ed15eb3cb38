"""Whether the nightly report can be drawn here, and who says so when it cannot."""

import json
from pathlib import Path

import pytest

from tests.services import typed_in
from worker.errors import Unhealthy
from worker.nightly import drawing

ADVICE = "pip install --force-reinstall matplotlib"
CRASHES = "import os; os.kill(os.getpid(), 11)"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken" / "matplotlib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libfreetype.so: wrong ELF class')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def test_the_base_install_can_draw() -> None:
    assert drawing.fault() == ""


@pytest.mark.usefixtures("broken")
def test_a_library_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    assert drawing.fault() == "ImportError: libfreetype.so: wrong ELF class"
    (tmp_path / "broken" / "matplotlib" / "__init__.py").write_text(CRASHES)
    assert drawing.fault() == "it ended with exit code -11"


@pytest.mark.usefixtures("broken")
def test_doctor_and_the_report_say_what_to_do(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    with typed_in(tmp_path, home=home) as xrayq:
        xrayq("db", "upgrade")
        checks = {check["check"]: check for check in json.loads(xrayq("doctor", "--json")[1])}
        code, _, problem = xrayq("audit", "report", "--out", str(tmp_path / "out"))
    assert (checks["report"]["ok"], code) == (False, Unhealthy.exit_code)
    for text in (checks["report"]["text"], problem):
        assert "(ImportError: libfreetype.so: wrong ELF class)" in text
        assert ADVICE in text
    assert not (tmp_path / "out").exists()
