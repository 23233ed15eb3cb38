"""xrayq pretrain and xrayq train: films to a bundle."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import (
    PREPARE,
    must_be_writable,
    must_exist,
    one_line_errors,
    parse_names,
    parse_views,
    progress,
    require,
)
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from model.data.dataset import Dataset
    from model.training.recipe import TrainConfig

PRESETS = {
    "paper": "the 2020 paper's, 30 epochs with a learning-rate search",
    "reference": "the shipped bundle's, from a pretrained trunk",
    "ci": "four epochs for a few dozen films",
}
PRESET_HELP = f"Recipe: {'; '.join(f'{name} ({words})' for name, words in PRESETS.items())}."
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(pretrain)
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
    epochs: Annotated[int | None, typer.Option(help="Override the recipe's epochs.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Override the recipe's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Override the recipe's seed.")] = None,
    limit: Annotated[int, typer.Option(help="Films of each class and split; 0 for all.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: DeviceOption = "auto",
    version: Annotated[str, typer.Option(help="Version to write into the bundle.")] = "0.1.0",
) -> None:
    """Train the network and write a calibrated, measured bundle.

    The epoch to keep, the temperature and the operating points are chosen on
    the split val; the split test is only measured, once, at the end. The bundle
    holds the recipe, the seed, the data's digest, the versions and this command.

    \b
    xrayq prepare films/ && xrayq train --preset paper
    xrayq train --init imagenet --out runs/imagenet
    xrayq train runs/all --preset reference --init runs/trunk.pt --train-views all --out runs/second
    XRAYQ_BUNDLE=runs/second xrayq up
    """
    require("training")
    from rich.console import Console

    from model.data.dataset import load_dataset
    from model.training.finish import build_bundle
    from model.training.loop import Checkpoint, describe_device, pick_device
    from model.training.resnet import fits
    from model.training.train import Epoch, build
    from model.training.train import train as run_training

    must_exist(films, first=PREPARE)
    if out.exists():
        raise ConfigurationError(f"{out} exists: bundles are never changed, choose another --out")
    config = recipe(preset, epochs=epochs, learning_rate=learning_rate, seed=seed)
    initial = init if init == "imagenet" else Path(init) if init != "random" else None
    if isinstance(initial, Path):
        must_exist(initial)
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
        checkpoint = Checkpoint(
            checkpoint_path(out, resume),
            {"recipe": config.as_dict(), "data": dataset.digest, "start": describe_start(init)},
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
                build(config, initial, findings=len(dataset.findings)),
                dataset,
                config,
                device=chosen,
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
            device=describe_device(chosen),
        )
        checkpoint.remove()
    console.print(f"kept: {trained.kept}", highlight=False)
    console.print(f"wrote {bundle.path}, digest {bundle.digest[:12]}: see 'xrayq bundle show {out}'", highlight=False)


def pretrain(
    films: Annotated[list[Path], typer.Argument(help="Folders with metadata.csv and tar shards.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="File for the trunk's weights.")] = Path("runs/trunk.pt"),
    epochs: Annotated[int, typer.Option(help="Passes over the films.")] = 40,
    size: Annotated[int, typer.Option(help="Side of the films, pixels; a multiple of 32.")] = 224,
    batch: Annotated[int, typer.Option(help="Films in a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Largest learning rate of the one cycle.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 2020,
    limit: Annotated[int, typer.Option(help="About so many films; 0 for all.")] = 0,
    sources: Annotated[str, typer.Option(help="Films of these sources alone, comma-separated.")] = "",
    without_sources: Annotated[str, typer.Option(help="No films of these sources.")] = "",
    prepared: Annotated[
        Path | None,
        typer.Option(help="What 'xrayq prepare' wrote: its training films that radiologists read join."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Train the trunk on other sources' chest films first, each judged on the labels its source reports.

    metadata.csv has the columns image_id, shard, file, source and labels
    (several, separated by ';' or '|'), and where known rsna_class, which is
    judged where it is filled. With --prepared, a patient of that set's
    validation or test films is an error. The defaults want a GPU, where 5,000
    films take three minutes; the second line is for two cores and takes 25.

    \b
    xrayq pretrain auxiliary/ --out runs/trunk.pt
    xrayq pretrain auxiliary/ --epochs 8 --size 128 --batch 32 --learning-rate 5e-4
    xrayq train --init runs/trunk.pt
    """
    require("training")
    import json

    import torch
    from rich.console import Console

    from model.data.auxiliary import load_auxiliary
    from model.data.listed_films import Choice
    from model.digest import file_digest
    from model.training.loop import Checkpoint, describe_device, pick_device
    from model.training.pretrain import PretrainConfig, PretrainEpoch, teaching
    from model.training.pretrain import pretrain as run_pretraining

    console = Console()
    must_exist(*films, *([prepared] if prepared else []))
    must_be_writable(out)
    out.parent.mkdir(parents=True, exist_ok=True)

    def report(epoch: PretrainEpoch) -> None:
        console.print(f"epoch {epoch.epoch:>3}  loss {epoch.loss:.4f}  {epoch.seconds:.0f} s", highlight=False)

    with one_line_errors():
        chosen = pick_device(device)
        choice = Choice(sources=parse_names(sources), without_sources=parse_names(without_sources))
        loaded = load_auxiliary(films, size=size, limit=limit, choice=choice, prepared=prepared)
        labels, used = teaching(loaded)
        console.print(
            f"{len(used)} of {len(loaded.images)} films teach {len(labels)} labels, digest {loaded.digest[:12]}",
            highlight=False,
        )
        config = PretrainConfig(epochs=epochs, batch=batch, learning_rate=learning_rate, seed=seed)
        belongs_to = {"recipe": config.as_dict(), "data": loaded.digest}
        checkpoint = Checkpoint(checkpoint_path(out, resume), belongs_to)
        with progress(console, "films trained on") as advance:
            run_pretraining(
                loaded, config, out=out, device=chosen, checkpoint=checkpoint, report=report, advance=advance
            )
        story = {
            "command": command_line(),
            "data_digest": loaded.digest,
            "films": len(used),
            "labels": [loaded.labels[index] for index in labels],
            "size": size,
            "recipe": config.as_dict(),
            "device": describe_device(chosen),
            "torch": torch.__version__,
            "weights": file_digest(out),
        }
        story_path(out).write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    console.print(f"wrote {out}: use it with 'xrayq train --init {out}'", highlight=False)


def recipe(
    preset: str, *, epochs: int | None = None, learning_rate: float | None = None, seed: int | None = None
) -> "TrainConfig":
    """A preset with overrides. Raises ConfigurationError."""
    from model.training.recipe import PRESETS as CONFIGS

    if preset not in CONFIGS:
        raise ConfigurationError(f"--preset is one of {', '.join(CONFIGS)}")
    config = CONFIGS[preset]
    if epochs is not None:
        config = replace(config, epochs=epochs, average_last=min(config.average_last, epochs))
    if learning_rate is not None:
        config = replace(config, learning_rate=learning_rate)
    return config if seed is None else replace(config, seed=seed)


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


def describe_start(init: str) -> str:
    from model.digest import file_digest

    if init == "random":
        return init
    if init == "imagenet":
        return "torchvision ResNet50 IMAGENET1K_V2"
    return f"file, sha256 {file_digest(Path(init))}" if Path(init).is_file() else "file"


def story_path(trunk: Path) -> Path:
    """Where `pretrain` writes how the trunk was made."""
    return trunk.with_name(trunk.name + ".json")


def pretraining_of(init: str) -> dict[str, Any] | None:
    """How the trunk in this file was pretrained, if that is known of exactly this file."""
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
    return " ".join(["xrayq", *(Path(word).name if "/" in word else word for word in sys.argv[1:])])
