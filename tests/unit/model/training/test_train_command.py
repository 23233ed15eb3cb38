"""`xrayq train` as a whole, on phantoms and a thin network; test_own_findings.py trains the ResNet50."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from torchvision.models import resnet50  # noqa: E402

from model.bundle import MANIFEST, MODEL, Bundle, load, trunk_stories  # noqa: E402
from model.data.dataset import load_dataset  # noqa: E402
from model.digest import file_digest  # noqa: E402
from model.findings import FINDINGS  # noqa: E402
from model.notice import NOTICE  # noqa: E402
from model.training.loop import Checkpoint  # noqa: E402
from model.training.recipe import PRESETS  # noqa: E402
from tests.services import Xrayq, typed_in  # noqa: E402
from tests.unit.model.data.test_auxiliary import write_auxiliary  # noqa: E402
from tests.unit.model.films import prepare_films, rows_for, write_films  # noqa: E402
from tests.unit.model.small import SIDE, residual  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


TRAIN = ("train", "--preset", "ci", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """As the README says, on 18 films: a folder with runs/films, runs/bundle and what the training said."""
    folder = tmp_path_factory.mktemp("trained")
    write_films(folder / "films", rows_for({"train": 2, "val": 2, "test": 2}))
    with residual(), typed_in(folder) as xrayq:
        code, out, problems = xrayq("prepare", "films", "--size", str(SIDE), "--json")
        assert code == 0, problems
        assert json.loads(out)["films"]["covid19"] == {"train": 2, "val": 2, "test": 2}
        code, out, problems = xrayq(*TRAIN)
        assert (code, problems) == (0, ""), problems
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["bundle", "films"]
    (folder / "said").write_text(out)
    return folder


def test_the_loss_goes_down_and_the_bundle_is_whole(trained: Path) -> None:
    bundle, out = load(trained / "runs" / "bundle"), (trained / "said").read_text()
    assert NOTICE in " ".join(out.split())
    losses = [epoch["train_loss"] for epoch in bundle.provenance["history"]]
    assert len(losses) == PRESETS["ci"].epochs
    assert losses[-1] < losses[0]
    assert "epoch   2  loss " in out
    assert f"kept: {bundle.provenance['kept']}" in out
    check_bundle(bundle, trained)


def check_bundle(bundle: Bundle, folder: Path) -> None:
    """What anybody must be able to read out of a bundle, and what nobody may."""
    told, films = bundle.provenance, load_dataset(folder / "runs" / "films")
    assert (bundle.name, bundle.version, bundle.findings) == ("bundle", "0.1.0", FINDINGS)
    assert bundle.preprocess == films.spec
    assert told["data_digest"] == films.digest
    assert told["recipe"] == json.loads(json.dumps(PRESETS["ci"].as_dict()))
    assert told["recipe"]["seed"] == 2020
    assert (told["initial_weights"], told["device"]) == ("random", "CPU")
    assert (told["views"], told["train_views"]) == (["PA"], ["PA"])
    assert told["films"] == {name: part.counts() for name, part in films.splits.items()}
    assert told["command"] == "xrayq train --preset ci --device cpu"
    assert set(told["versions"]) >= {"python", "torch", "torchvision"}
    assert told["versions"]["torch"] == torch.__version__
    assert [epoch["epoch"] for epoch in told["history"]] == list(range(1, PRESETS["ci"].epochs + 1))
    assert {split: metrics["films"] for split, metrics in bundle.metrics.items()} == {"train": 6, "val": 6, "test": 6}
    assert [point.finding for point in bundle.operating_points] == ["not_normal", "pneumonia", "covid19"]
    for point in bundle.operating_points:
        assert point.chosen_on.startswith("val:")
        assert point.specificity >= (point.target_value or 1)
    assert all(set(metrics["flags"]) == {"not_normal", "pneumonia", "covid19"} for metrics in bundle.metrics.values())
    for name in (MANIFEST, MODEL):
        assert str(folder).encode() not in (bundle.path / name).read_bytes()


def test_the_bundle_is_verified_shown_and_not_overwritten(trained: Path) -> None:
    bundle = load(trained / "runs" / "bundle")
    with typed_in(trained) as xrayq:
        code, out, problems = xrayq("bundle", "verify", "runs/bundle", "--json")
        assert code == 0, problems
        assert json.loads(out)["digest"] == bundle.digest
        code, out, problems = xrayq("bundle", "show", "runs/bundle")
        assert code == 0, problems
        assert "recall covid19" in " ".join(out.split())
        code, _, problems = xrayq("train", "--preset", "ci")
    assert (code, problems.count("\n"), "runs/bundle exists" in problems) == (2, 1, True)
    assert load(trained / "runs" / "bundle") == bundle


@pytest.mark.slow
@pytest.mark.usefixtures("thin")
def test_resume(trained: Path, tmp_path: Path, xrayq: Xrayq, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training, stopped after its first epoch and continued."""
    words = ("train", str(trained / "runs/films"), *TRAIN[1:], "--version", "0.9.1", "--out", "again")
    save = Checkpoint.save

    def save_and_stop(checkpoint: Checkpoint, state: dict[str, Any]) -> None:
        save(checkpoint, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_stop)
        code, _, problems = xrayq(*words)
    assert code not in (0, 2)
    assert "Traceback" not in problems
    assert not (tmp_path / "again").exists()

    code, _, problems = xrayq(*words)
    assert (code, problems.count("\n")) == (2, 1)
    assert "an interrupted run left again.checkpoint: --resume continues it, deleting it starts again" in problems
    for other in (("--seed", "8"), ("--epochs", "5")):
        code, _, problems = xrayq(*words, "--resume", *other)
        assert (code, problems.count("\n")) == (1, 1)
        assert "again.checkpoint is of a training with another recipe: delete it to start again" in problems
    code, _, problems = xrayq(*words, "--resume", "--limit", "1")
    assert (code, "with another data: delete it" in problems) == (1, True)

    code, out, problems = xrayq(*words, "--resume")
    assert code == 0, problems
    assert "epoch   1" not in out
    whole, again = load(trained / "runs/bundle"), load(tmp_path / "again")
    assert file_digest(again.onnx) == file_digest(whole.onnx)
    histories = [[epoch | {"seconds": 0} for epoch in one.provenance["history"]] for one in (whole, again)]
    assert histories[0] == histories[1]
    assert (again.metrics, again.version) == (whole.metrics, "0.9.1")
    assert again.provenance["recipe"] == whole.provenance["recipe"]
    assert again.provenance["films"] == whole.provenance["films"]
    assert again.provenance["command"].startswith("xrayq train films --preset ci")
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.slow
def test_what_else_taught_stands_in_the_record(trained: Path, tmp_path: Path, xrayq: Xrayq) -> None:
    """A trunk of others, an auxiliary film with a reading, a bundle as teacher, a changed recipe."""
    films = {f"a/{at}": "mass" if at else "" for at in range(2)}
    write_auxiliary(tmp_path / "aux", films, patients={name: f"theirs-{name}" for name in films})
    torch.save({"state_dict": resnet50().state_dict()}, tmp_path / "theirs.pt")
    assert xrayq("trunk", "convert", "theirs.pt", "--licence", "MIT", "--out", "start.pt")[0] == 0
    words = ["train", str(trained / "runs/films"), *TRAIN[1:], "--init", "start.pt", "--auxiliary", "aux"]
    words += ["--teacher", str(trained / "runs/bundle"), "--set", "sizes=[[64,1]]", "--set", "reading_weight=0.5"]
    code, _, problems = xrayq(*words, "--out", "x")
    assert (code, "a teacher_weight needs --teacher" in problems) == (2, True)
    code, _, problems = xrayq(*words, "--set", "teacher_weight=0.5", "--out", "taught")
    assert code == 0, problems
    told = load(tmp_path / "taught").provenance
    teacher = load(trained / "runs/bundle")
    assert told["teachers"] == [{"name": "bundle", "digest": teacher.digest, "held_out": 1.0, "sources": None}]
    assert told["sources"] == [""], "the films name no source, so nobody knows the teacher's either"
    assert told["auxiliary_digest"]
    assert (told["recipe"]["teacher_weight"], told["recipe"]["sizes"]) == (0.5, [[64, 1]])
    assert [story["licence"] for story in trunk_stories(load(tmp_path / "taught"))] == ["MIT"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere",), 3, "no such folder or file: nowhere: run 'xrayq prepare' first"),
        (("raw",), 1, "raw is not a prepared set"),
        (("films", "--views", "LL"), 1, "no film of view LL"),
        (("films", "--preset", "big"), 2, "--preset is one of paper, reference, ci"),
        (("films", "--set", "batch=many"), 2, "--set 'batch=many': a value such as 16"),
        (("films", "--auxiliary", "aux"), 3, "no such folder or file: aux"),
        (("films", "--device", "tpu"), 1, "no device 'tpu': use auto, cpu or cuda"),
        (("small",), 2, "small has films of side 32, the network takes 161 to 224: xrayq prepare --size 224"),
        (("films", "--init", "raw/metadata.csv"), 1, "does not hold a ResNet50 trunk"),
        (("films", "--init", "nowhere.pt"), 3, "no such folder or file: nowhere.pt"),
        (("films", "--init", "imagenet"), 1, "give it as --init FILE"),
        (("films",), 1, "split 'val' lacks films of every class"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_internet")
def test_xrayq_train_says_what_is_wrong(
    tmp_path: Path, xrayq: Xrayq, words: tuple[str, ...], code: int, message: str
) -> None:
    raw = write_films(tmp_path / "raw", rows_for({"train": 1}))
    prepare_films(raw, tmp_path / "films", size=SIDE)
    prepare_films(raw, tmp_path / "small", size=32)
    left, _, problems = xrayq("train", *words, "--out", "runs/x")
    assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
    assert not list(tmp_path.glob("runs/*"))
