"""Commands that make a bundle say, where its figures show, that this is no medical device."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.bundle import REFERENCE, Bundle, load
from model.gate import build
from model.int8 import compile as int8
from model.notice import NOTICE
from tests.services import typed_in


@pytest.mark.parametrize(
    ("where", "name", "words"),
    [(int8, "compile_int8", "compile --films films --out fast"), (build, "build_gate", "gate train films --out gated")],
)
def test_results_say_that_they_are_of_no_medical_device(
    where: Any, name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the bundle takes minutes and is tested elsewhere."""
    made = replace(load(REFERENCE), variants={"int8": {"images_per_s": {"int8": 9.0, "fp32": 3.0}}})

    def at_once(*_: Any, **__: Any) -> Bundle:
        return made

    monkeypatch.setattr(where, name, at_once)
    (tmp_path / "films").mkdir()
    with typed_in(tmp_path) as xrayq:
        code, out, problems = xrayq(*words.split())
        assert (code, NOTICE in out) == (0, True), problems
        code, out, problems = xrayq(*words.split(), "--json")
        assert (code, json.loads(out)["notice"]) == (0, NOTICE), problems
