"""xrayq train: films to a bundle."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.bundle import load_bundle
from worker.cli.common import PREPARE, must_be_writable, must_exist, one_line_errors, parse_views, progress, require
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from model.data.auxiliary import AuxiliaryFilms
    from model.data.dataset import Dataset
    from model.training.recipe import TrainConfig

PRESETS = {
    "paper": "the 2020 paper's, 30 epochs with a learning-rate search",
    "reference": "the shipped bundle's, from a pretrained trunk",
    "ci": "four epochs for a few dozen films",
}
PRESET_HELP = f"Recipe: {'; '.join(f'{name} ({words})' for name, words in PRESETS.items())}."
EpochsOption = Annotated[int | None, typer.Option(help="Override the recipe's epochs and its stages of size.", min=1)]
AuxiliaryOption = Annotated[
    list[Path] | None, typer.Option(help="Folder of an auxiliary set whose films with a reading join; repeatable.")
]
HoldOutOption = Annotated[
    float,
    typer.Option(help="Share of the auxiliary sets' patients that stays out, to be measured on.", min=0.0, max=0.5),
]
ChangeOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change one value of the recipe, NAME=VALUE; repeatable.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(train)


def train(
    films: Annotated[Path, typer.Argument(help="What 'xrayq prepare' wrote.", metavar="FOLDER")] = Path("runs/films"),
    out: Annotated[Path, typer.Option(help="Bundle folder to write; must not exist.")] = Path("runs/bundle"),
    preset: Annotated[str, typer.Option(help=PRESET_HELP)] = "paper",
    init: Annotated[
        str, typer.Option(help="random, imagenet, or a file: a trunk from 'xrayq pretrain' or a ResNet50 state dict.")
    ] = "random",
    views: Annotated[str, typer.Option(help="View positions, comma-separated, or 'all'.")] = "PA",
    train_views: Annotated[str, typer.Option(help="Other view positions for the training split.")] = "",
    auxiliary: AuxiliaryOption = None,
    hold_out: HoldOutOption = 0.0,
    teacher: Annotated[
        list[str] | None, typer.Option(help="Bundle that teaches (teacher_weight of the recipe); repeatable.")
    ] = None,
    change: ChangeOption = None,
    epochs: EpochsOption = None,
    learning_rate: Annotated[float | None, typer.Option(help="Override the recipe's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the recipe's seed.")] = None,
    limit: Annotated[int, typer.Option(help="Films of each class and split; 0 for all.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: DeviceOption = "auto",
    version: Annotated[str, typer.Option(help="Version to write into the bundle.")] = "0.1.0",
) -> None:
    """Train the network and write a calibrated, measured bundle.

    --set changes one value of the recipe, NAME=VALUE with the names that stand
    in model/training/recipe.py and in every bundle's record.

    The epoch to keep, the temperature and the operating points are chosen on
    the split val; the split test is only measured, once, at the end. The bundle
    holds the recipe, the seed, the data's digest, the versions and this command.

    \b
    xrayq prepare films/ && xrayq train --preset paper
    xrayq train --init imagenet --out runs/imagenet
    xrayq train runs/all --preset reference --init runs/trunk.pt --train-views all --auxiliary aux/
    xrayq train --preset reference --set balance=none --set mined_weight.pneumonia=0.25 --set sizes=[[160,4]]
    xrayq train --preset reference --teacher runs/a --teacher runs/b --set teacher_weight=0.5
    XRAYQ_BUNDLE=runs/second xrayq up
    """
    require("training")
    from rich.console import Console

    from model.data.dataset import load_dataset
    from model.data.flow import read_flow
    from model.data.seen_films import held_out_share, seen_sources, sources_of
    from model.training.finish import build_bundle
    from model.training.loop import Checkpoint, describe_device, pick_device
    from model.training.resnet import fits
    from model.training.teacher import probabilities_of
    from model.training.train import Epoch, build
    from model.training.train import train as run_training

    must_exist(films, first=PREPARE)
    must_exist(*(auxiliary or []))
    if out.exists():
        raise ConfigurationError(f"{out} exists: bundles are never changed, choose another --out")
    config = recipe(preset, change, epochs=epochs, learning_rate=learning_rate, seed=seed)
    if bool(teacher) != bool(config.teacher_weight):
        raise ConfigurationError("--teacher needs a teacher_weight in the recipe, and a teacher_weight needs --teacher")
    initial = start_of(init)
    console = Console()
    with one_line_errors():
        chosen = pick_device(device)
        dataset = load_dataset(
            films, views=parse_views(views), train_views=parse_views(train_views or views), limit=limit
        )
        if not fits(dataset.spec.size):
            raise ConfigurationError(
                f"{films} has films of side {dataset.spec.size}, the network takes 161 to 224: xrayq prepare --size 224"
            )
        show_counts(console, dataset)
        joined = auxiliary_films(auxiliary, dataset.spec.size, films, hold_out)
        teachers = [load_bundle(name) for name in teacher or []]
        helpers = {
            "auxiliary_digest": joined.digest if joined else None,
            "auxiliary_held_out": hold_out if joined else None,
            "teachers": [
                {
                    "name": one.name,
                    "digest": one.digest,
                    "held_out": held_out_share(one),
                    "sources": seen_sources(one),
                }
                for one in teachers
            ],
        }
        checkpoint = Checkpoint(
            checkpoint_path(out, resume),
            {"recipe": config.as_dict(), "data": dataset.digest, "start": describe_start(init)} | helpers,
        )
        with progress(console, "films trained on") as advance:

            def report(epoch: Epoch) -> None:
                member = f"member {epoch.member}  " if config.members > 1 else ""
                console.print(
                    f"{member}epoch {epoch.epoch:>3}  loss {epoch.train_loss:.4f}  val loss {epoch.validation_loss:.4f}"
                    f"  val accuracy {epoch.validation_accuracy:.3f}  {epoch.seconds:.0f} s"
                    f"{'  best' if epoch.best else ''}",
                    highlight=False,
                )

            trained = run_training(
                build(config, initial, len(dataset.findings)),
                dataset,
                config,
                device=chosen,
                auxiliary=joined,
                teacher=probabilities_of(teachers, dataset) if teachers else None,
                checkpoint=checkpoint,
                report=report,
                advance=advance,
            )
        bundle = build_bundle(
            out,
            version=version,
            trained=trained,
            dataset=dataset,
            config=config,
            command=command_line(),
            initial=describe_start(init),
            pretraining=pretraining_of(init),
            helpers=helpers | {"sources": sources_of(dataset, joined)},
            flow=read_flow(films),
            device=describe_device(chosen),
        )
        checkpoint.remove()
    console.print(f"kept: {trained.kept}", highlight=False)
    console.print(
        f"wrote {bundle.path}, digest {bundle.digest[:12]}: see 'xrayq bundle show {out}'. {NOTICE}", highlight=False
    )


def recipe(
    preset: str,
    changes: list[str] | None = None,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
) -> "TrainConfig":
    """A preset with overrides. Raises ConfigurationError."""
    from model.training.recipe import PRESETS as CONFIGS
    from model.training.recipe import changed

    if preset not in CONFIGS:
        raise ConfigurationError(f"--preset is one of {', '.join(CONFIGS)}")
    config = CONFIGS[preset]
    if epochs is not None:
        config = replace(config, epochs=epochs, sizes=(), average_last=min(config.average_last, epochs))
    if learning_rate is not None:
        config = replace(config, learning_rate=learning_rate)
    try:
        config = changed(config, changes or [])
    except ValueError as error:
        raise ConfigurationError(f"--set {error}") from None
    return config if seed is None else replace(config, seed=seed)


def auxiliary_films(folders: list[Path] | None, size: int, prepared: Path, hold_out: float) -> "AuxiliaryFilms | None":
    """The films of --auxiliary, none of them of the prepared set's validation or test patients. Raises DatasetError."""
    from model.data.auxiliary import load_auxiliary

    if not folders:
        return None
    return load_auxiliary(folders, size=size, prepared=prepared, join=False, hold_out=hold_out)


def show_counts(console: "Console", dataset: "Dataset") -> None:
    for split, part in dataset.splits.items():
        counts = ", ".join(f"{name} {count}" for name, count in part.counts().items())
        console.print(f"{split:<6} {len(part):>5} films  {counts}", highlight=False)


def checkpoint_path(out: Path, resume: bool) -> Path:
    """Beside what is being made. Raises ConfigurationError when one is left over and nobody said to resume."""
    path = out.with_name(out.name + ".checkpoint")
    must_be_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not resume:
        raise ConfigurationError(f"an interrupted run left {path}: --resume continues it, deleting it starts again")
    return path


def start_of(init: str) -> Path | str | None:
    """Of --init, as `train.build` takes it. Raises where there is no such file."""
    if init in ("random", "imagenet"):
        return None if init == "random" else init
    must_exist(Path(init))
    return Path(init)


def describe_start(init: str) -> str:
    from model.digest import file_digest

    if init == "random":
        return init
    if init == "imagenet":
        return "torchvision ResNet50 IMAGENET1K_V2"
    return f"file, sha256 {file_digest(Path(init))}" if Path(init).is_file() else "file"


def story_path(trunk: Path) -> Path:
    """Where `pretrain` and `trunk convert` write how the trunk was made."""
    return trunk.with_name(trunk.name + ".json")


def write_story(trunk: Path, story: dict[str, Any]) -> None:
    """How this trunk was made, with its digest. Never text of a path: see `command_line`."""
    import json

    from model.digest import file_digest

    text = json.dumps(story | {"weights": file_digest(trunk)}, indent=2)
    story_path(trunk).write_text(text + "\n", encoding="utf-8")


def pretraining_of(init: str) -> dict[str, Any] | None:
    """How the trunk in this file was made, if that is known of exactly this file: its story, with the story of the
    trunk that it began from under `start`."""
    import json

    from model.digest import file_digest

    path = Path(init)
    try:
        story: dict[str, Any] = json.loads(story_path(path).read_text(encoding="utf-8"))
        return story if story["weights"] == file_digest(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def command_line() -> str:
    """What was typed, with folders cut to their names: a bundle carries no paths of the machine that made it."""
    return " ".join(["xrayq", *(_without_folders(word) for word in sys.argv[1:])])


def _without_folders(word: str) -> str:
    """Of a word such as films/aux/=openist:normal the folder's name stays too."""
    path, equals, rest = word.partition("=")
    return (Path(path).name if "/" in path else path) + equals + (Path(rest).name if "/" in rest else rest)
