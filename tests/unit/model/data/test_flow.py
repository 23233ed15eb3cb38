"""What became of every film that was listed stands beside the prepared films."""

import json
from pathlib import Path

from model.data.flow import read_flow
from model.data.listed_films import Choice
from tests.unit.model.films import prepare_films, rows_for, write_films


def test_every_listed_film_is_taken_or_left_out_for_a_reason(tmp_path: Path) -> None:
    rows = [row | {"license": "CC BY 4.0", "source": "a"} for row in rows_for({"train": 2, "val": 2, "test": 2})]
    rows[0]["source"] = "b"
    rows[1]["view"] = "AP"
    rows[2]["age"] = "12"
    out = tmp_path / "films"
    prepared = prepare_films(write_films(tmp_path / "raw", rows), out, choice=Choice(without_sources=("b",)))
    flow = read_flow(out)
    assert flow is not None
    assert (flow.listed, flow.prepared) == (18, 15)
    assert flow.left_out == {"source b": 1, "view AP": 1, "younger than 18": 1} == prepared.left_out
    assert flow.licences == {"CC BY 4.0": 15}


def test_a_set_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    prepare_films(write_films(tmp_path / "raw", rows_for({"train": 1, "val": 1, "test": 1})), tmp_path / "films")
    path = tmp_path / "films/prepared.json"
    found = json.loads(path.read_text())
    del found["flow"]
    path.write_text(json.dumps(found))
    assert read_flow(tmp_path / "films") is None
