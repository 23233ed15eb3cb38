"""What keeps a process from starting is said in one line, and is no reason to start it again."""

import tempfile
from pathlib import Path

import pytest

from model.preprocess import PreprocessSpec
from worker.errors import ConfigurationError
from worker.processes import parts
from worker.processes.up import bundle_must_be_there
from worker.settings import Settings


def test_a_temporary_folder_in_which_no_socket_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{'x' * 71}")
    with pytest.raises(ConfigurationError, match=r"TMPDIR: .* is too long, 75 characters at most"):
        parts.decode_pool(Settings(), PreprocessSpec(size=64), processes=1)


def test_a_bundle_s_name_is_no_folder(tmp_path: Path) -> None:
    named = Settings(bundle=tmp_path / "reference")
    with pytest.raises(ConfigurationError, match=r"XRAYQ_BUNDLE: .*/reference has no manifest.json"):
        bundle_must_be_there(named, activated=False)
    bundle_must_be_there(named, activated=True)  # it does not score
    bundle_must_be_there(Settings(), activated=False)
