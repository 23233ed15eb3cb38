"""xrayq pretrain: the trunk on other sources' films first."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import must_be_new, must_exist, one_line_errors, parse_names, progress, require
from worker.cli.train import (
    DeviceOption,
    HoldOutOption,
    checkpoint_path,
    command_line,
    describe_start,
    pretraining_of,
    start_of,
    write_story,
)
from worker.errors import ConfigurationError

LEAST_SIDE = 32


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(pretrain)


def pretrain(
    films: Annotated[list[Path], typer.Argument(help="Folders with metadata.csv and tar shards.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="File for the trunk's weights.")] = Path("runs/trunk.pt"),
    init: Annotated[str, typer.Option(help="random, imagenet, or a file, as for 'xrayq train'.")] = "random",
    sizes: Annotated[str, typer.Option(help="Stages, side:epochs each, comma-separated.")] = "224:40",
    batch: Annotated[int, typer.Option(help="Films in a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Largest learning rate of the trunk in the one cycle.")] = 1e-3,
    head_rate: Annotated[float, typer.Option(help="Learning rate of the head by that of the trunk.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 2020,
    limit: Annotated[int, typer.Option(help="About so many films; 0 for all.")] = 0,
    sources: Annotated[str, typer.Option(help="Films of these sources alone, comma-separated.")] = "",
    without_sources: Annotated[str, typer.Option(help="No films of these sources.")] = "",
    prepared: Annotated[
        Path | None,
        typer.Option(help="What 'xrayq prepare' wrote: its training films that radiologists read join."),
    ] = None,
    hold_out: HoldOutOption = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Train the trunk on other sources' chest films first, each judged on the labels its source reports.

    metadata.csv has the columns image_id, shard, file, source and labels
    (several, separated by ';' or '|'), and where known rsna_class, which is
    judged where it is filled. With --prepared, a patient of that set's
    validation or test films is an error. The defaults want a GPU, where 5,000
    films take three minutes. The second line is for two cores: 9,000 films take
    an hour there.

    \b
    xrayq pretrain auxiliary/ --out runs/trunk.pt
    xrayq pretrain aux/ aux2/ --init runs/start.pt --without-sources openist --prepared runs/all \\
      --hold-out 0.1 --sizes 128:5,160:4 --batch 32 --learning-rate 5e-4 --head-rate 4
    xrayq train --init runs/trunk.pt
    """
    require("training")
    import torch
    from rich.console import Console

    from model.data.auxiliary import load_auxiliary
    from model.data.listed_films import Choice
    from model.training.loop import Checkpoint, describe_device, pick_device
    from model.training.pretrain import PretrainConfig, PretrainEpoch, teaching
    from model.training.pretrain import pretrain as run_pretraining

    console, planned = Console(), stages(sizes)
    initial = start_of(init)
    must_exist(*films, *([prepared] if prepared else []))
    must_be_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)

    def report(epoch: PretrainEpoch) -> None:
        console.print(f"epoch {epoch.epoch:>3}  loss {epoch.loss:.4f}  {epoch.seconds:.0f} s", highlight=False)

    with one_line_errors():
        chosen = pick_device(device)
        choice = Choice(sources=parse_names(sources), without_sources=parse_names(without_sources))
        largest = max(side for side, _ in planned)
        loaded = load_auxiliary(films, size=largest, limit=limit, choice=choice, prepared=prepared, hold_out=hold_out)
        labels, used = teaching(loaded)
        console.print(
            f"{len(used)} of {len(loaded.images)} films teach {len(labels)} labels, digest {loaded.digest[:12]}",
            highlight=False,
        )
        config = PretrainConfig(sizes=planned, batch=batch, learning_rate=learning_rate, head_rate=head_rate, seed=seed)
        belongs_to = {"recipe": config.as_dict(), "data": loaded.digest, "start": describe_start(init)}
        checkpoint = Checkpoint(checkpoint_path(out, resume), belongs_to)
        with progress(console, "films trained on") as advance:
            epochs = run_pretraining(
                loaded,
                config,
                initial=initial,
                out=out,
                device=chosen,
                checkpoint=checkpoint,
                report=report,
                advance=advance,
            )
        story = {
            "command": command_line(),
            "data_digest": loaded.digest,
            "films": len(used),
            "held_out": hold_out,
            "labels": [loaded.labels[index] for index in labels],
            "sources": sorted({loaded.sources[row] for row in used}),
            "initial_weights": describe_start(init),
            "recipe": config.as_dict(),
            "minutes": round(sum(epoch.seconds for epoch in epochs) / 60, 1),
            "device": describe_device(chosen),
            "torch": torch.__version__,
            "start": pretraining_of(init),
        }
        write_story(out, story)
    console.print(f"wrote {out}: use it with 'xrayq train --init {out}'", highlight=False)


def stages(text: str) -> tuple[tuple[int, int], ...]:
    """128:5,160:3 as ((128, 5), (160, 3)). Raises ConfigurationError."""
    try:
        made = tuple((int(side), int(epochs)) for side, epochs in (part.split(":") for part in text.split(",")))
    except ValueError:
        made = ()
    if not made or any(side < LEAST_SIDE or epochs < 1 for side, epochs in made):
        raise ConfigurationError(f"--sizes {text}: write it as 128:5,160:3, side:epochs, sides of {LEAST_SIDE} or more")
    return made
