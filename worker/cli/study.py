"""xrayq study: one thing changed, everything else alike, as a table for the evaluation report."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.calibrate import CoverageOption, SensitivityOption, SpecificityOption, wish_of
from worker.cli.common import PREPARE, must_be_writable, must_exist, one_line_errors, parse_views, require
from worker.cli.train import (
    PRESET_HELP,
    DeviceOption,
    auxiliary_films,
    command_line,
    describe_start,
    recipe,
    start_of,
)
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from model.study_table import Study
    from model.training.study import Bench

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Train several times with one thing changed. 'xrayq evaluate' shows the table.

    \b
    xrayq study split --init runs/trunk.pt --out runs/split.json
    xrayq study lr --init runs/trunk.pt --out runs/lr.json
    xrayq study init --init random --init runs/trunk.pt --out runs/init.json
    xrayq study source --init runs/trunk.pt --out runs/source.json
    xrayq study ingredients --preset reference --init runs/trunk.pt --out runs/ingredients.json
    xrayq study seeds runs/seed1 runs/seed2 --out runs/seeds.json
    xrayq study calibration --out runs/calibration.json
    xrayq evaluate --study runs/split.json --study runs/lr.json --study runs/init.json
    """,
)
FilmsArgument = Annotated[Path, typer.Option(help="What 'xrayq prepare' wrote.")]
PresetOption = Annotated[str, typer.Option(help=PRESET_HELP)]
InitOption = Annotated[str, typer.Option(help="random, imagenet, or a file.")]
SeedsOption = Annotated[int, typer.Option(help="Trainings for each row, each with its own seed.", min=1)]
EpochsOption = Annotated[int | None, typer.Option(help="Override the recipe's epochs.", min=1)]
LimitOption = Annotated[int, typer.Option(help="Films of each class and split; 0 for all.")]
OutOption = Annotated[Path | None, typer.Option(help="JSON file to write.")]
ViewsOption = Annotated[str, typer.Option(help="View positions, comma-separated, or 'all'.")]
TrainViewsOption = Annotated[str, typer.Option(help="Other view positions for the training split.")]
RUNS = Path("runs/films")


@app.command()
def split(
    films: FilmsArgument = RUNS,
    out: OutOption = None,
    preset: PresetOption = "paper",
    init: InitOption = "random",
    seeds: SeedsOption = 1,
    epochs: EpochsOption = None,
    limit: LimitOption = 0,
    views: ViewsOption = "PA",
    device: DeviceOption = "auto",
) -> None:
    """70/30, 60/40 and 50/50 of the films for training and validation, as in the paper.

    \b
    xrayq study split --init runs/trunk.pt --seeds 2 --out runs/split.json
    """
    from model.training.study import split_study

    run_study(split_study, films, out, preset, init, seeds, epochs, limit, views, views, device)


@app.command()
def lr(
    films: FilmsArgument = RUNS,
    out: OutOption = None,
    preset: PresetOption = "paper",
    init: InitOption = "random",
    seeds: SeedsOption = 1,
    epochs: EpochsOption = None,
    limit: LimitOption = 0,
    views: ViewsOption = "PA",
    device: DeviceOption = "auto",
) -> None:
    """Learning rates of the paper's search phase.

    \b
    xrayq study lr --init runs/trunk.pt --out runs/lr.json
    """
    from model.training.study import rate_study

    run_study(rate_study, films, out, preset, init, seeds, epochs, limit, views, views, device)


@app.command("init")
def init_(
    films: FilmsArgument = RUNS,
    out: OutOption = None,
    preset: PresetOption = "paper",
    init: Annotated[list[str] | None, typer.Option(help="A start; give it several times.")] = None,
    seeds: SeedsOption = 1,
    epochs: EpochsOption = None,
    limit: LimitOption = 0,
    views: ViewsOption = "PA",
    train_views: TrainViewsOption = "",
    device: DeviceOption = "auto",
) -> None:
    """Random weights, a pretrained trunk, ImageNet: what the start is worth under the same recipe.

    \b
    xrayq study init --init random --init runs/trunk.pt --out runs/init.json
    """
    from model.training.study import start_study

    starts = {_name(start): start_of(start) for start in init or ["random"]}
    run_study(
        lambda bench: start_study(bench, starts),
        films,
        out,
        preset,
        "random",
        seeds,
        epochs,
        limit,
        views,
        train_views or views,
        device,
        described=[describe_start(start) for start in init or ["random"]],
    )


@app.command()
def calibration(
    name: BundlePath = "reference",
    films: FilmsArgument = RUNS,
    out: OutOption = None,
    on: Annotated[str, typer.Option(help="Splits to pool: val,test or val.")] = "val,test",
    resplits: Annotated[int, typer.Option(help="How often the films are halved.", min=2)] = 20,
    sensitivity: SensitivityOption = None,
    specificity: SpecificityOption = None,
    coverage: CoverageOption = 0.9,
) -> None:
    """Does 'xrayq calibrate' keep its promises? Films halved by patient: calibrate on one half, measure on the other.

    Nothing is trained: one network scores the films once.

    \b
    xrayq study calibration --films runs/all --out runs/calibration.json
    """
    require("calibration")
    must_exist(films, first=PREPARE)
    bundle, wanted = load_bundle(name), tuple(part.strip() for part in on.split(","))
    if not set(wanted) <= {"val", "test"}:
        raise ConfigurationError(f"--on {on}: the bundle may be measured on val and test")
    if out and out.exists():
        raise ConfigurationError(f"{out} exists: choose another --out")
    if out:
        must_be_writable(out)
    wish = wish_of(bundle, sensitivity, specificity, coverage)
    from rich.console import Console

    from model.calibrating.labelled_films import labelled, open_films
    from model.calibrating.resplits import pool, resplit
    from model.engine.ort import OrtEngine
    from worker.settings import cores

    with one_line_errors():
        by_split, digest = open_films(bundle, films)
        engine = OrtEngine(bundle, threads=cores())
        if missing := set(wanted) - set(by_split):
            raise ConfigurationError(f"{films} has no films of {', '.join(sorted(missing))}: choose another --on")
        parts = [labelled(split, by_split[split], engine) for split in by_split if split in wanted]
        result = resplit(pool(parts), bundle.findings, wish, count=resplits)
    made = {"bundle": bundle.digest, "data_digest": digest, "command": command_line()}
    result = replace(result, provenance=result.provenance | made)
    finish(Console() if Console().is_terminal else Console(width=220), result, out)


def run_study(
    study: "Callable[[Bench], Study]",
    films: Path,
    out: Path | None,
    preset: str,
    init: str,
    seeds: int,
    epochs: int | None,
    limit: int,
    views: str,
    train_views: str,
    device: str,
    described: list[str] | None = None,
    changes: list[str] | None = None,
    auxiliary: list[Path] | None = None,
    hold_out: float = 0.0,
) -> None:
    """Train as `study` asks, show its table and write it."""
    require("training")
    from rich.console import Console

    from model.training.loop import describe_device

    if out and out.exists():
        raise ConfigurationError(f"{out} exists: choose another --out")
    console = Console()
    with one_line_errors():
        bench = open_bench(
            console, films, out, preset, init, seeds, epochs, limit, views, train_views, device, changes, auxiliary,
            hold_out,
        )  # fmt: skip
        result = study(bench)
    made = {
        "start": described or [describe_start(init)],
        "device": describe_device(bench.device),
        "command": command_line(),
    }
    finish(console, replace(result, provenance=result.provenance | made), out)


def open_bench(
    console: "Console",
    films: Path,
    out: Path | None,
    preset: str,
    init: str,
    seeds: int,
    epochs: int | None,
    limit: int,
    views: str,
    train_views: str,
    device: str,
    changes: list[str] | None,
    auxiliary: list[Path] | None,
    hold_out: float,
) -> "Bench":
    """What the trainings of a study have in common, from the options of these names."""
    from model.data.dataset import load_dataset
    from model.training.loop import pick_device
    from model.training.study import Bench

    must_exist(films, first=PREPARE)
    must_exist(*(auxiliary or []))
    if out:
        must_be_writable(out)
    config = replace(recipe(preset, changes, epochs=epochs), members=1)
    if config.teacher_weight:
        raise ConfigurationError("--set teacher_weight: a study has no teacher")
    dataset = load_dataset(films, views=parse_views(views), train_views=parse_views(train_views), limit=limit)
    return Bench(
        dataset=dataset,
        config=config,
        initial=start_of(init),
        device=pick_device(device),
        seeds=range(config.seed, config.seed + seeds),
        report=lambda line: console.print(line, highlight=False),
        auxiliary=auxiliary_films(auxiliary, dataset.spec.size, films, hold_out),
    )


def finish(console: "Console", study: "Study", out: Path | None) -> None:
    """Show a study and write it."""
    show(console, study)
    if out:
        write(out, study.as_dict())
        say_where(console, out)


def show(console: "Console", study: "Study") -> None:
    from rich.table import Table

    table = Table(*study.columns, title=study.title, title_justify="left")
    for row in study.rows:
        table.add_row(*map(str, row))
    console.print(table)
    console.print(study.note, highlight=False)


def write(out: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    import json

    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".part")
    draft.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(out)


def say_where(console: "Console", out: Path) -> None:
    console.print(f"wrote {out}: 'xrayq evaluate --study {out}' shows it in the report", highlight=False)


def _name(start: str) -> str:
    return start if start in ("random", "imagenet") else Path(start).stem
