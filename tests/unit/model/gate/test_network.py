"""The gate's network made in seconds on phantoms: that it is trained, exported, measured and refused as written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.bundle import GATE, Bundle
from model.data.prepare import prepare
from model.data.raw_films import read_image
from model.digest import file_digest
from model.errors import BundleError, DatasetError, EngineError
from model.gate.quality import Quality
from model.gate.rules import Facts, Gate, Policy, open_gate
from model.preprocess import PreprocessSpec
from tests.phantoms import chest_pixels

pytest.importorskip("torch")
pytest.importorskip("onnx")

from model.gate.build import BUDGET, build_gate
from model.gate.network import GateNetwork, Sight
from model.gate.training_films import KINDS, GateFilms, load_auxiliary_views, of_prepared, others
from model.training.gate_network import GateConfig, train_gate

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = GateConfig(epochs=2, others=28)
PER_SPLIT = 12


def phantom(view: str, seed: int) -> NDArray[np.uint8]:
    """A PA phantom; the AP one has a large heart."""
    film = (chest_pixels(256, 256, seed=seed) >> 4).astype(np.uint8)
    return cv2.circle(film, (150, 170), 60, 200, -1) if view == "AP" else film


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    rows = ["image_id,file,label,patient_id,split,view,source,age"]
    for number in range(6 * PER_SPLIT):
        view, split = ("PA", "AP")[number % 2], ("train", "val", "test")[number // (2 * PER_SPLIT)]
        cv2.imwrite(str(folder / f"{number}.png"), phantom(view, number))
        rows.append(f"f{number:03},{number}.png,normal,p{number},{split},{view},made,50")
    (folder / "metadata.csv").write_text("\n".join(rows))
    prepare([folder], folder / "prepared", spec=PreprocessSpec(), read=read_image, views=())
    return folder / "prepared"


def teach(lessons: GateFilms, path: Path) -> dict[str, Any]:
    train_gate(lessons, CONFIG, path)
    return CONFIG.as_dict()


@pytest.fixture(scope="module")
def gated(bundle: Bundle, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("gated") / "gated"
    return build_gate(bundle, films, out, train=teach, auxiliary=None, command="xrayq gate train", pictures=28)


def test_the_new_bundle_keeps_its_scores_and_names_its_parent(bundle: Bundle, gated: Bundle) -> None:
    assert gated.parent == bundle.digest
    assert set(gated.files) == {*bundle.files, GATE}
    assert file_digest(gated.onnx) == file_digest(bundle.onnx)
    assert (gated.path / GATE).stat().st_size < 2_000_000
    assert gated.gate is not None
    assert set(gated.gate) == {"labels", "thresholds", "metrics", "provenance"}
    assert str(films) not in json.dumps(gated.gate)


def test_the_budget_holds_on_validation_films(gated: Bundle) -> None:
    assert gated.gate is not None
    refused = gated.gate["metrics"]["val"]["eligible_refused"]
    assert refused["n"] == PER_SPLIT == refused["by_source"]["made"]["n"] == refused["by_label"]["normal"]["n"]
    assert refused["value"] <= BUDGET


def test_the_manifests_figures_are_what_the_served_gate_says(gated: Bundle, films: Path) -> None:
    """One film at a time through `judge`, as the worker does it."""
    from model.data.dataset import open_prepared

    assert gated.gate is not None
    gate, quality = (
        open_gate(gated, Policy()),
        Quality(rows=512, columns=512, contrast=1, entropy=6, clipped=0, brightness=0.5),
    )
    facts = Facts(modality="DX", body_part="CHEST", views=("PA",), age_years=50)
    part = open_prepared(films)[0].where(lambda film: film.split == "test" and film.view == "AP")
    verdicts = [gate.judge(facts, quality, image[0]) for image in part.images]
    found = gated.gate["metrics"]["test"]["ap_tagged_pa_refused"]
    assert found["n"] == len(verdicts)
    assert found["value"] == pytest.approx(sum(one.reason is not None for one in verdicts) / len(verdicts), abs=1e-4)
    assert {"view_pa", "rotated", "inverted", "distance", "rows", "clipped"} <= set(verdicts[0].measured)


def test_a_missing_view_is_left_to_the_pixels_only_where_there_is_a_network(bundle: Bundle, gated: Bundle) -> None:
    facts = Facts(modality="DX", body_part="CHEST", views=(), age_years=50)
    assert open_gate(bundle, Policy()).header(facts) == "view_missing"
    assert open_gate(gated, Policy()).header(facts) is None


def test_probabilities_sum_to_one_and_a_batch_is_its_films(gated: Bundle, images: NDArray[np.uint8]) -> None:
    network = GateNetwork(gated)
    together = network.look(images)
    for one, image in zip(together, images, strict=True):
        assert sum(one.view.values()) == pytest.approx(1, abs=1e-5)
        assert 0 <= one.rotated <= 1
        alone: Sight = network.look(image[None])[0]
        assert one.distance == pytest.approx(alone.distance, rel=1e-3)
    with pytest.raises(EngineError, match="uint8"):
        network.look(images.astype(np.float32))  # type: ignore[arg-type]


def test_the_same_films_make_the_same_network(gated: Bundle, films: Path, tmp_path: Path) -> None:
    from model.data.dataset import open_prepared

    teach(of_prepared(open_prepared(films)[0].where(lambda film: film.split == "train")), tmp_path / GATE)
    assert (tmp_path / GATE).read_bytes() == (gated.path / GATE).read_bytes()


def test_pictures_that_are_no_film_are_of_every_kind_and_repeatable(images: NDArray[np.uint8]) -> None:
    images = images[:7]  # the last one is blank, and a part of it is no picture
    made = others(images, 2 * len(KINDS), seed=3)
    assert (made.shape, made.dtype) == ((2 * len(KINDS), 1, 224, 224), np.uint8)
    assert np.array_equal(made, others(images, 2 * len(KINDS), seed=3))
    assert len({picture.tobytes() for picture in made}) == len(made)
    assert all(picture.std() > 5 for picture in made)


def auxiliary(folder: Path, rows: "Callable[[int], str]") -> None:
    import tarfile

    lines = ["image_id,shard,file,source,view,patient_id,age"]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number in range(4):
            cv2.imwrite(str(folder / f"{number}.png"), phantom("PA", number))
            archive.add(folder / f"{number}.png", f"{number}.png")
            lines.append(f"a{number},a.tar,{number}.png," + rows(number))
    (folder / "metadata.csv").write_text("\n".join(lines))


def test_auxiliary_films_of_held_out_patients_and_children_do_not_teach(tmp_path: Path) -> None:
    auxiliary(tmp_path, lambda n: ["nih,PA,p0,40", "nih,AP,p1,40", "nih,AP,p2,12", "kermany,AP,p3,40"][n])
    spec = PreprocessSpec()
    every = load_auxiliary_views(tmp_path, spec=spec, min_age=18, without_patients=frozenset())
    assert every.views.tolist() == [0, 1]
    fewer = load_auxiliary_views(tmp_path, spec=spec, min_age=18, without_patients=frozenset({"p0"}))
    assert fewer.views.tolist() == [1]


def test_what_cannot_be_built(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    def never(_lessons: GateFilms, _path: Path) -> dict[str, Any]:
        raise AssertionError("trained")

    with pytest.raises(BundleError, match="never changed"):
        build_gate(bundle, films, tmp_path, train=never, auxiliary=None, command="")
    other = replace(bundle, preprocess=PreprocessSpec(size=192))
    with pytest.raises(DatasetError, match="was prepared with"):
        build_gate(other, films, tmp_path / "new", train=never, auxiliary=None, command="")
    source = films.parent
    prepare([source], tmp_path / "pa", spec=PreprocessSpec(), read=read_image)
    with pytest.raises(DatasetError, match="no AP films in train"):
        build_gate(bundle, tmp_path / "pa", tmp_path / "new", train=never, auxiliary=None, command="")


def test_a_gate_that_onnx_runtime_refuses(gated: Bundle, tmp_path: Path) -> None:
    (tmp_path / GATE).write_bytes(b"not a network")
    with pytest.raises(EngineError, match="cannot load"):
        GateNetwork(replace(gated, path=tmp_path))
    assert Gate(Policy()).header(Facts(modality="CT", body_part="", views=("PA",), age_years=None)) == "modality"
