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
from model.data.dataset import FilmRow, Films, open_prepared
from model.data.prepare import prepare
from model.data.raw_films import read_image
from model.digest import file_digest
from model.errors import BundleError, DatasetError, EngineError
from model.gate.quality import Quality
from model.gate.rules import Facts, Gate, Policy, open_gate
from model.preprocess import PreprocessSpec
from model.stats.manifest_measures import gate_shares
from tests.phantoms import chest_pixels
from tests.unit.model.conftest import write_bundle

pytest.importorskip("torch")
pytest.importorskip("onnx")

from model.gate.build import BUDGET, SOURCE_BUDGET, build_gate, choose_thresholds
from model.gate.gate_measures import GateMeasures, Seen
from model.gate.network import GateNetwork, Sight
from model.gate.rims import RIMS
from model.gate.training_films import KINDS, GateFilms, load_auxiliary_views, of_prepared, others, view_weights
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
    return prepared(tmp_path_factory.mktemp("gate"))


def prepared(folder: Path, labels: tuple[str, ...] = ("normal",), **choices: Any) -> Path:
    """PER_SPLIT films of each split, half of each view, each label in turn."""
    rows = ["image_id,file,label,patient_id,split,view,source,age"]
    for number in range(6 * PER_SPLIT):
        view, split = ("PA", "AP")[number % 2], ("train", "val", "test")[number // (2 * PER_SPLIT)]
        cv2.imwrite(str(folder / f"{number}.png"), phantom(view, number))
        label = labels[number // 2 % len(labels)]
        rows.append(f"f{number:03},{number}.png,{label},p{number},{split},{view},made,50")
    (folder / "metadata.csv").write_text("\n".join(rows))
    prepare([folder], folder / "prepared", spec=PreprocessSpec(), read=read_image, views=(), **choices)
    return folder / "prepared"


def teach(lessons: GateFilms, path: Path) -> dict[str, Any]:
    train_gate(lessons, CONFIG, path)
    return CONFIG.as_dict()


@pytest.fixture(scope="module")
def gated(bundle: Bundle, films: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("gated") / "gated"
    return build_gate(bundle, films, out, train=teach, auxiliary=(), command="xrayq gate train", pictures=28)


@pytest.mark.slow
def test_the_new_bundle_keeps_its_scores_and_names_its_parent(bundle: Bundle, gated: Bundle) -> None:
    assert gated.parent == bundle.digest
    assert set(gated.files) == {*bundle.files, GATE}
    assert file_digest(gated.onnx) == file_digest(bundle.onnx)
    assert (gated.path / GATE).stat().st_size < 2_000_000
    assert gated.gate is not None
    assert set(gated.gate) == {"labels", "thresholds", "metrics", "provenance"}
    assert str(films) not in json.dumps(gated.gate)


@pytest.mark.slow
def test_the_budget_holds_on_validation_films(gated: Bundle) -> None:
    assert gated.gate is not None
    refused = gated.gate["metrics"]["val"]["eligible_refused"]
    assert refused["n"] == PER_SPLIT == refused["by_source"]["made"]["n"] == refused["by_label"]["normal"]["n"]
    assert refused["value"] <= BUDGET


@pytest.mark.slow
def test_films_in_rims_are_measured_by_kind(gated: Bundle) -> None:
    assert gated.gate is not None
    measures = GateMeasures.read(gated.gate["metrics"]["test"])
    assert measures.rimmed is not None
    assert set(measures.rimmed) == set(RIMS)
    assert {share.n for share in measures.rimmed.values()} == {PER_SPLIT}
    earlier = measures.as_dict()
    del earlier["rimmed"]
    assert GateMeasures.read(earlier).as_dict() == earlier, "a gate of an earlier release has no such figures"


def seen_views(*films: tuple[str, str, float]) -> Seen:
    """What the network sees in films of (source, view, probability of PA)."""
    still = {
        "split": "val",
        "label_basis": "",
        "age": None,
        "aspect": 1,
        "mean": 0,
        "spread": 0,
        "black": 0,
        "white": 0,
    }
    named = [{"identifier": f"f{n}", "source": source, "view": view} for n, (source, view, _) in enumerate(films)]
    records = tuple(FilmRow(label="normal", patient=name["identifier"], **still, **name) for name in named)  # type: ignore[arg-type]
    plain = [
        Sight(view={"PA": pa, "AP": 1 - pa, "OTHER": 0.0}, rotated=0.0, inverted=0.0, distance=1.0)
        for _, _, pa in films
    ]
    empty = np.zeros((len(films), 1, 8, 8), np.uint8)
    part = Films(store=empty, rows=np.arange(len(films)), records=records)
    return Seen(films=part, plain=plain, turned={}, inverted=[], rimmed={}, others=[])


def test_one_source_does_not_pay_for_all() -> None:
    """980 films of a large source are surely PA. 20 of a small one are taken for AP: the whole budget of 2 % could fall
    on them."""
    small = [("small", "PA", 0.4 - 0.02 * number) for number in range(20)]
    seen = seen_views(*[("large", "PA", 0.99)] * 980, *small, ("large", "AP", 0.01))
    limit = choose_thresholds(seen, Policy()).view
    refused = sum(1 - pa >= limit for _, _, pa in small)
    assert refused == SOURCE_BUDGET * 20
    few = seen_views(*[("large", "PA", 0.99)] * 980, *small[1:], ("large", "AP", 0.01))
    assert choose_thresholds(few, Policy()).view < limit, "19 films of a source are too few to ask for"


def test_a_source_teaches_no_view(images: NDArray[np.uint8]) -> None:
    """Both views weigh the same within a source, one of a single view teaches none, and a small one is not drowned."""

    def weights(text: str) -> NDArray[np.float64]:
        """Of films written as source and view, P, A or - for unknown."""
        named = text.split()
        views = np.array(["PA-".index(film[1]) if film[1] != "-" else -1 for film in named], np.int64)
        pictures = np.zeros((len(named), 1, 8, 8), np.uint8)
        return view_weights(GateFilms(images=pictures, views=views, sources=tuple(film[0] for film in named)))

    assert weights("nP nP nP nA").tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert weights("nP nA tP tP t-").tolist() == [1, 1, 0, 0, 0]
    assert weights("nP nP nP nP nA nA nA nA iP iA iA").tolist() == pytest.approx([1] * 8 + [2, 1, 1])
    assert weights("nP " * 100 + "nA " * 100 + "iP iA")[-1] == 5, "at most"
    assert weights("aP aP bA").tolist() == [0.5, 0.5, 1], "no source has both: all of them are one"
    assert weights("a- b-").tolist() == [0, 0]


@pytest.mark.slow
def test_the_manifests_figures_are_what_the_served_gate_says(gated: Bundle, films: Path) -> None:
    """One film at a time through `judge`, as the worker does it."""
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


@pytest.mark.slow
def test_a_missing_view_is_left_to_the_pixels_only_where_there_is_a_network(bundle: Bundle, gated: Bundle) -> None:
    facts = Facts(modality="DX", body_part="CHEST", views=(), age_years=50)
    assert open_gate(bundle, Policy()).header(facts) == "view_missing"
    assert open_gate(gated, Policy()).header(facts) is None


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_films_make_the_same_network(gated: Bundle, films: Path, tmp_path: Path) -> None:
    teach(of_prepared(open_prepared(films)[0].where(lambda film: film.split == "train")), tmp_path / GATE)
    assert (tmp_path / GATE).read_bytes() == (gated.path / GATE).read_bytes()


def test_pictures_that_are_no_film_are_of_every_kind_and_repeatable(images: NDArray[np.uint8]) -> None:
    images = images[:7]  # the last one is blank, and a part of it is no picture
    made = others(images, 2 * len(KINDS), seed=3)
    assert (made.shape, made.dtype) == ((2 * len(KINDS), 1, 224, 224), np.uint8)
    assert np.array_equal(made, others(images, 2 * len(KINDS), seed=3))
    assert len({picture.tobytes() for picture in made}) == len(made)
    assert all(picture.std() > 5 for picture in made)


def auxiliary(folder: Path, rows: "Callable[[int], str]") -> Path:
    import tarfile

    folder.mkdir(exist_ok=True)
    lines = ["image_id,shard,file,source,view,patient_id,age"]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number in range(4):
            cv2.imwrite(str(folder / f"{number}.png"), phantom("PA", number))
            archive.add(folder / f"{number}.png", f"{number}.png")
            lines.append(f"a{number},a.tar,{number}.png," + rows(number))
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_several_auxiliary_sets_teach(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    """Both, without the patients of val and test in either."""
    held_out, taught = open_prepared(films)[0].records[-1].patient, []
    first = auxiliary(tmp_path / "aux", lambda n: f"nih,PA,{'q' if n else held_out}{n or ''},40")
    second = auxiliary(tmp_path / "aux2", lambda n: f"siim,{('AP', 'unknown', 'PA', 'PA')[n]},r{n},")

    def listen(lessons: GateFilms, path: Path) -> dict[str, Any]:
        taught.append(lessons)
        return teach(lessons, path)

    made = build_gate(bundle, films, tmp_path / "new", train=listen, auxiliary=[first, second], command="", pictures=7)
    assert made.gate is not None
    assert made.gate["provenance"]["train"]["auxiliary"] == 7
    assert taught[0].sources[-7:] == ("nih",) * 3 + ("siim",) * 4
    assert taught[0].views[-7:].tolist() == [0, 0, 0, 1, -1, 0, 0]
    assert len(taught[0].images) == len(taught[0].views) == len(taught[0].sources) == 2 * PER_SPLIT + 7


@pytest.mark.slow
def test_a_network_of_two_findings_has_a_gate_too(bundle: Bundle, tmp_path: Path) -> None:
    """Its findings are none of the paper's: measures name them, and it is asked as any other."""
    from model.training.export import export_onnx
    from model.training.recipe import TrainConfig
    from model.training.train import build

    findings = ("clear", "nodule")
    films = prepared(tmp_path, findings, findings=findings)
    export_onnx(build(TrainConfig(), None, 2).eval(), tmp_path / "model.onnx", 224)
    own = write_bundle(tmp_path / "own", tmp_path / "model.onnx", findings)
    made = build_gate(own, films, tmp_path / "new", train=teach, command="", pictures=7)
    assert made.findings == findings
    assert made.gate is not None
    measures = GateMeasures.read(made.gate["metrics"]["test"])
    for shares in (measures.eligible_refused.by_label, measures.untagged_pa_refused.by_label):
        assert {name: share.n for name, share in shares.items()} == {"clear": PER_SPLIT // 2, "nodule": PER_SPLIT // 2}
    assert gate_shares(made)["test"].eligible_refused.n == PER_SPLIT
    assert open_gate(made, Policy()).header(Facts(modality="DX", body_part="", views=(), age_years=None)) is None


def test_auxiliary_films_of_held_out_patients_and_children_do_not_teach(tmp_path: Path) -> None:
    """Ages as numbers and as DICOM writes them; one that is none counts as an adult's."""
    auxiliary(tmp_path, lambda n: ["nih,PA,p0,058Y", "nih,AP,p1,about 40", "nih,AP,p2,012Y", "nih,AP,p3,12"][n])
    spec = PreprocessSpec()
    every = load_auxiliary_views(tmp_path, spec=spec, min_age=18, without_patients=frozenset())
    assert every.views.tolist() == [0, 1]
    fewer = load_auxiliary_views(tmp_path, spec=spec, min_age=18, without_patients=frozenset({"p0"}))
    assert fewer.views.tolist() == [1]


def test_what_cannot_be_built(bundle: Bundle, films: Path, tmp_path: Path) -> None:
    def never(_lessons: GateFilms, _path: Path) -> dict[str, Any]:
        raise AssertionError("trained")

    with pytest.raises(BundleError, match="never changed"):
        build_gate(bundle, films, tmp_path, train=never, auxiliary=(), command="")
    other = replace(bundle, preprocess=PreprocessSpec(size=192))
    with pytest.raises(DatasetError, match="was prepared with"):
        build_gate(other, films, tmp_path / "new", train=never, auxiliary=(), command="")
    source = films.parent
    prepare([source], tmp_path / "pa", spec=PreprocessSpec(), read=read_image)
    with pytest.raises(DatasetError, match="no AP films in train"):
        build_gate(bundle, tmp_path / "pa", tmp_path / "new", train=never, auxiliary=(), command="")


@pytest.mark.slow
def test_a_gate_that_onnx_runtime_refuses(gated: Bundle, tmp_path: Path) -> None:
    (tmp_path / GATE).write_bytes(b"not a network")
    with pytest.raises(EngineError, match="cannot load"):
        GateNetwork(replace(gated, path=tmp_path))
    assert Gate(Policy()).header(Facts(modality="CT", body_part="", views=("PA",), age_years=None)) == "modality"
