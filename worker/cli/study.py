"""xrayq study: one thing changed, everything else alike, as a table for the evaluation report."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.calibrate import CoverageOption, SensitivityOption, SpecificityOption, wish_of
from worker.cli.common import PREPARE, must_be_new, must_exist, one_line_errors, require, wide_console
from worker.cli.study_bench import (
    RUNS,
    BenchOptions,
    EpochsOption,
    FilmsArgument,
    InitOption,
    LimitOption,
    OutOption,
    PresetOption,
    SeedsOption,
    TrainViewsOption,
    ViewsOption,
    finish,
    run_study,
)
from worker.cli.train import DeviceOption, command_line, describe_start, start_of
from worker.errors import ConfigurationError

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

    run_study(
        split_study,
        BenchOptions(
            films=films, out=out, preset=preset, init=init, seeds=seeds, epochs=epochs, limit=limit, views=views,
            device=device,
        ),
    )  # fmt: skip


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

    run_study(
        rate_study,
        BenchOptions(
            films=films, out=out, preset=preset, init=init, seeds=seeds, epochs=epochs, limit=limit, views=views,
            device=device,
        ),
    )  # fmt: skip


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
        BenchOptions(
            films=films, out=out, preset=preset, seeds=seeds, epochs=epochs, limit=limit, views=views,
            train_views=train_views, device=device,
        ),
        described=[describe_start(start) for start in init or ["random"]],
    )  # fmt: skip


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
    must_be_new(out)
    wish = wish_of(bundle, sensitivity, specificity, coverage)
    from model.calibrating.labelled_films import labelled, open_films
    from model.calibrating.resplits import pool, resplit
    from model.engine.ort import OrtEngine
    from worker.settings import cores

    with one_line_errors():
        by_split, digest = open_films(bundle, films)
        if missing := set(wanted) - set(by_split):
            raise ConfigurationError(f"{films} has no films of {', '.join(sorted(missing))}: choose another --on")
        with closing(OrtEngine(bundle, threads=cores())) as engine:
            parts = [labelled(split, by_split[split], engine) for split in by_split if split in wanted]
        result = resplit(pool(parts), bundle.findings, wish, count=resplits)
    made = {"bundle": bundle.digest, "data_digest": digest, "command": command_line()}
    result = replace(result, provenance=result.provenance | made)
    finish(wide_console(), result, out)


def _name(start: str) -> str:
    return start if start in ("random", "imagenet") else Path(start).stem
