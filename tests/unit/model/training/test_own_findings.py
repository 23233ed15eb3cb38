"""Findings of one's own, two of them: from films to a bundle that is measured, by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.bundle import load
from model.data.dataset import load_dataset
from model.engine.ort import OrtEngine
from model.scorer import score
from tests.services import typed_in
from tests.unit.model.films import rows_for, write_films
from tests.unit.model.small import SIDE

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = {"normal": "clear", "covid19": "tb"}


@pytest.mark.slow
def test_two_findings_from_films_to_a_report(tmp_path: Path) -> None:
    rows = [row for row in rows_for({"train": 3, "val": 21, "test": 3}) if row["label"] in NAMES]
    write_films(tmp_path / "films", rows)
    table = (tmp_path / "films/metadata.csv").read_text()
    for old, new in NAMES.items():
        table = table.replace(f",{old},", f",{new},")
    (tmp_path / "films/metadata.csv").write_text(table)
    with typed_in(tmp_path) as xrayq:
        for words in (
            f"prepare films --findings clear,tb --size {SIDE}",
            "train --preset ci --device cpu --epochs 1",
            "calibrate runs/bundle --films runs/films",
            "evaluate runs/calibrated --films runs/films",
            "bundle card runs/calibrated --markdown runs/CARD.md",
        ):
            code, _, problems = xrayq(*words.split())
            assert code == 0, (words, problems)
    bundle = load(tmp_path / "runs/calibrated")
    assert (bundle.findings, bundle.negative) == (("clear", "tb"), "clear")
    test = load_dataset(tmp_path / "runs/films").splits["test"]
    (served,) = score(OrtEngine(bundle, threads=1), bundle, test.take(np.array([0])))
    assert list(served.probabilities) == ["clear", "tb"]
    found = json.loads((tmp_path / "runs/report/evaluation.json").read_text())
    assert (found["fair"], found["paper"], "covidnet" in found["baselines"]) == (None, None, False)
    page = (tmp_path / "runs/report/report.html").read_text()
    card = (tmp_path / "runs/CARD.md").read_text().replace("student paper on COVID-19 in chest films", "")
    for text in (page, card, (tmp_path / "runs/calibrated/card.json").read_text()):
        assert "COVID" not in text
        assert "pneumonia" not in text
        assert "not a medical device" in text.lower()
    assert bundle.provenance["flow"] == {"listed": 54, "left_out": {}, "prepared": 54, "licences": {"not given": 54}}
    assert "| test | all | 6 | 6 |" in card
    assert "| test | not said | 3 | 3 |" in card
