"""What each row of the study of ingredients changes, what it does not, and how a stopped run goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'xrayq[train]'")

from model.data.auxiliary import AuxiliaryFilms, load_auxiliary  # noqa: E402
from model.data.dataset import Dataset, load_dataset  # noqa: E402
from model.errors import DatasetError  # noqa: E402
from model.notice import NOTICE  # noqa: E402
from model.training import study  # noqa: E402
from model.training.ingredients import (  # noqa: E402
    EVERYTHING,
    INGREDIENTS,
    Extras,
    ingredient_study,
    rows_of,
    without_added,
)
from model.training.recipe import HIDDEN_SOURCE, TrainConfig  # noqa: E402
from model.training.study import Bench  # noqa: E402
from model.training.study_figures import ENOUGH, columns_of, measured  # noqa: E402
from tests.services import Xrayq  # noqa: E402
from tests.unit.model.data.test_auxiliary import write_auxiliary  # noqa: E402
from tests.unit.model.films import Row, prepare_films, rows_for, write_films  # noqa: E402
from tests.unit.model.small import Small, Stop  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = TrainConfig(
    epochs=1,
    batch=12,
    schedule="one_cycle",
    mined_weight=(("pneumonia", 0.0),),
    balance="source",
    reading_weight=0.5,
    auxiliary_weight=1.0,
    augmentation=HIDDEN_SOURCE,
)
MOVED = replace(HIDDEN_SOURCE, gamma=0.0, collimation=0.0, blur=0.0, noise=0.0, jpeg=0.0)
EVERY_OPTION = Extras(pretrained_from=Path("start.pt"), added="added")


def rows() -> list[Row]:
    """Half of each class of nih, half of siim; the first of pneumonia in train and val are mined from reports."""
    made = rows_for({"train": 4, "val": 4, "test": 3})
    for row in made:
        number = int(row["image_id"][-1])
        row["source"] = "siim" if number % 2 else "nih"
        mined = row["label"] == "pneumonia" and number == 0 and row["split"] != "test"
        row["label_basis"] = "nih_report_nlp" if mined else "read by a person"
        row["view"] = "AP" if number == 1 else "PA"
    return made


def added() -> list[Row]:
    """Films of training, and test films of the subset more: enough for the pair of siim, too few for that of nih."""
    made = rows_for({"train": 2, "test": ENOUGH})
    for row in made:
        row["image_id"] = f"added-{row['image_id']}"
        row["patient_id"] = f"added-{row['patient_id']}"
        row["file"] = row["file"].replace("images/", "images/added-")
        row["source"] = "nih" if row["label"] == "pneumonia" else "siim"
        row["test_subset"] = "more" if row["split"] == "test" else ""
    return made


def prepared(folder: Path) -> Path:
    raw = [write_films(folder / "first", rows()), write_films(folder / "added", added(), side=72)]
    prepare_films(raw, folder / "runs/films", views=())
    return folder / "runs/films"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def dataset(films: Path) -> Dataset:
    return load_dataset(films, train_views=())


@pytest.fixture(scope="module")
def auxiliary(tmp_path_factory: pytest.TempPathFactory) -> AuxiliaryFilms:
    folder = tmp_path_factory.mktemp("aux")
    write_auxiliary(folder, {f"open/{at}": "normal" for at in range(3)})
    return load_auxiliary([folder], size=32)


Calls = list[dict[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What each training was given, on networks of a few weights."""
    made: Calls = []
    train = study.train

    def recorded(network: Any, data: Dataset, config: TrainConfig, **options: Any) -> Any:
        made[-1] |= {"data": data, "auxiliary": options["auxiliary"]}
        return train(network, data, config, **options)

    def small(config: TrainConfig, initial: Any, _findings: int) -> Small:
        made.append({"config": config, "initial": initial})
        return Small()

    monkeypatch.setattr(study, "build", small)
    monkeypatch.setattr(study, "train", recorded)
    return made


def bench(dataset: Dataset, auxiliary: AuxiliaryFilms | None = None, **changes: Any) -> Bench:
    plain: dict[str, Any] = {
        "config": RECIPE,
        "initial": Path("trunk.pt"),
        "device": torch.device("cpu"),
        "seeds": (1,),
        "report": lambda _: None,
    }
    return Bench(dataset=dataset, auxiliary=auxiliary, **plain | changes)


def test_each_row_changes_its_ingredient_alone(dataset: Dataset, auxiliary: AuxiliaryFilms) -> None:
    whole = bench(dataset, auxiliary)
    made = rows_of(whole, EVERY_OPTION)
    assert list(made) == list(INGREDIENTS)
    assert made[EVERYTHING] == whole
    assert made["pretraining"] == replace(whole, initial=Path("start.pt"))
    assert made["random"] == replace(whole, initial=None)
    assert made["auxiliary"] == replace(whole, auxiliary=None, config=replace(RECIPE, reading_weight=0.0))
    assert made["balancing"] == replace(whole, config=replace(RECIPE, balance="none"))
    assert made["hiding"] == replace(whole, config=replace(RECIPE, augmentation=MOVED))
    assert made["mined"] == replace(whole, config=replace(RECIPE, mined_weight=(("pneumonia", 1.0),)))
    assert made["added"] == replace(whole, dataset=made["added"].dataset)


def test_added_films_leave_the_training_split_alone(dataset: Dataset) -> None:
    rest = without_added(dataset, "added")
    assert len(dataset.splits["train"]) == len(rest.splits["train"]) + 6
    assert {film.set for film in rest.splits["train"].records} == {"first"}
    assert rest.digest != dataset.digest
    assert list(rest.splits) == list(dataset.splits)
    for name in ("val", "test", "more"):
        assert rest.splits[name].identifiers == dataset.splits[name].identifiers
        assert np.array_equal(rest.splits[name].images, dataset.splits[name].images)
    with pytest.raises(DatasetError, match="training films are of added, first: not 'nowhere' alone"):
        without_added(dataset, "nowhere")
    with pytest.raises(DatasetError, match="training films are of first: not 'first' alone"):
        without_added(rest, "first")


def test_rows_that_would_change_nothing_are_left_out(dataset: Dataset) -> None:
    plain = bench(dataset, config=TrainConfig(epochs=1), initial=None)
    assert list(rows_of(plain, Extras())) == [EVERYTHING]
    with pytest.raises(DatasetError, match="nothing to leave out for pretraining, hiding"):
        rows_of(plain, Extras(), ["hiding", "pretraining"])


def test_figures_are_of_the_films_that_their_titles_name(films: Path, dataset: Dataset) -> None:
    whole = load_dataset(films, views=())
    columns = columns_of(dataset, whole, RECIPE)
    titles = {column.title: column for column in columns}
    assert list(titles) == [
        "val accuracy, 8 films",  # 12, of which 3 are AP and one weighs nothing
        "test accuracy, 6 films",
        "more accuracy, 30 films",
        "val AUROC, normal",
        "test AUROC, normal",
        "more AUROC, normal",
        "siim, more: AUROC, 10 COVID-19 against 10 normal",
    ]
    # The network sees COVID-19 in the even rows of the store and is sure that the others are normal.
    store = len(dataset.splits["train"].store)
    seen = np.array([[0, 0, 900.0] if row % 2 == 0 else [900.0, 0, 0] for row in range(store)], np.float32)
    found = measured(columns, lambda rows: seen[rows])
    for title, column in titles.items():
        even, labels = column.films.rows % 2 == 0, column.films.labels
        positive = labels == 2 if "siim" in title else labels != 0
        area = (even[positive].mean() - even[~positive].mean() + 1) / 2
        right = np.where(even, labels == 2, labels == 0).mean()
        assert found[title] == pytest.approx(right if "accuracy" in title else area, abs=1e-4), title


def test_a_table_of_all_rows(films: Path, dataset: Dataset, auxiliary: AuxiliaryFilms, calls: Calls) -> None:
    whole = bench(dataset, auxiliary, seeds=(1, 2))
    columns = columns_of(dataset, load_dataset(films, views=()), RECIPE)
    done = ingredient_study(whole, columns, rows_of(whole, EVERY_OPTION), {"device": "CPU"})
    assert [row[0] for row in done.rows] == [words for words, _ in INGREDIENTS.values()]
    assert [call["config"].seed for call in calls] == [1, 2] * len(INGREDIENTS)
    given = dict(zip(INGREDIENTS, calls[::2], strict=True))
    assert given["auxiliary"]["auxiliary"] is None
    assert [name for name, call in given.items() if call["data"] is not dataset] == ["added"]
    # The same small network from the same weights, whichever file was named: nothing else may differ.
    assert done.rows[0][1:] == done.rows[1][1:] == done.rows[2][1:]
    assert done.note.startswith("Mean (least to greatest) over 2 seeds.")
    assert len(done.columns) == len(done.rows[0]) == len(columns) + 1
    json.dumps(done.as_dict())


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    prepared(tmp_path)
    words = ["study", "ingredients", "--preset", "ci", "--epochs", "1", "--added", "added", "--set", "balance=source"]
    return [*words, "--train-views", "all", "--out", "runs/made.json"]


def test_xrayq_study_ingredients(tmp_path: Path, command: list[str], calls: Calls, xrayq: Xrayq) -> None:
    code, out, problems = xrayq(*command, "--seeds", "2")
    assert code == 0, problems
    assert "no row for what this recipe and these films have nothing of: pretraining, random" in out.replace("\n", " ")
    assert NOTICE in " ".join(out.split())
    result = json.loads((tmp_path / "runs/made.json").read_text())
    assert [row[0] for row in result["rows"]] == [EVERYTHING, "without the added films", "without balancing"]
    assert [(one["row"], one["seed"]) for one in result["trainings"][:2]] == [(EVERYTHING, 2020), (EVERYTHING, 2021)]
    assert result["provenance"]["added"] == "added"
    assert result["provenance"]["device"] == "CPU"
    assert str(tmp_path) not in json.dumps(result)
    assert study_is_read(tmp_path / "runs/made.json")


def study_is_read(path: Path) -> bool:
    from model.study_table import read_study

    return read_study(path).study == "ingredients"


def test_a_stopped_run_goes_on(
    tmp_path: Path, command: list[str], calls: Calls, xrayq: Xrayq, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs/made.json"
    train = study.train

    def fourth_stops(*given: Any, **options: Any) -> Any:
        if len(calls) == 4:
            raise Stop
        return train(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(study, "train", fourth_stops)
        with pytest.raises(Stop):
            xrayq(*command, "--seeds", "2")
    left = json.loads(path.read_text())
    assert ([row[0] for row in left["rows"]], len(left["trainings"])) == ([EVERYTHING], 3)
    calls.clear()

    code, _, problems = xrayq(*command, "--seeds", "2")
    assert (code, problems.count("\n")) == (2, 1)
    assert "--resume goes on with it" in problems
    code, _, problems = xrayq(*command, "--seeds", "2", "--resume", "--set", "dropout=0.1")
    assert (code, problems.count("\n")) == (1, 1), problems
    assert "is of a study with other recipe" in problems
    code, _, problems = xrayq(*command, "--seeds", "2", "--resume")
    assert code == 0, problems
    assert len(calls) == 3
    gone_on = json.loads(path.read_text())
    assert gone_on["trainings"][:3] == left["trainings"]
    assert gone_on["rows"][0] == left["rows"][0]
    assert len(gone_on["rows"]) == 3

    # More rows or fewer seeds of the same study: only what is missing is trained.
    code, _, problems = xrayq(*command, "--resume", "--only", "everything")
    assert (code, len(calls)) == (0, 3), problems
    fewer = json.loads(path.read_text())
    assert len(fewer["trainings"]) == 6
    assert fewer["note"].startswith("One seed.")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--only", "colour"], 2, "--only is one of everything, pretraining,"),
        (["--only", "hiding"], 1, "nothing to leave out for hiding"),
        (["--added", "elsewhere"], 1, "not 'elsewhere' alone"),
        (["--set", "teacher_weight=0.5"], 2, "a study has no teacher"),
        (["--without-pretraining", "random"], 2, "trains the row random twice"),
        (["--without-pretraining", "nowhere.pt"], 3, "no such folder or file: nowhere.pt"),
    ],
)
def test_what_cannot_be_left_out_is_said(
    words: list[str], code: int, message: str, command: list[str], calls: Calls, xrayq: Xrayq
) -> None:
    left, _, problems = xrayq(*command, *words)
    assert (left, problems.count("\n"), message in problems) == (code, 1, True), problems
    assert not calls


def test_resume_needs_the_file_of_such_a_study(tmp_path: Path, command: list[str], calls: Calls, xrayq: Xrayq) -> None:
    (tmp_path / "runs/made.json").write_text("{}")
    code, _, problems = xrayq(*command, "--resume")
    assert (code, problems.count("\n")) == (1, 1)
    assert "is not what a study of ingredients left" in problems
    code, _, problems = xrayq("study", "ingredients", "--resume")
    assert (code, "--resume needs --out" in problems) == (2, True)
