"""xrayq study ingredients: what each part of a recipe adds."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common import must_be_one_of, one_line_errors, parse_names, require, wide_console
from worker.cli.study_bench import (
    RUNS,
    BenchOptions,
    EpochsOption,
    FilmsArgument,
    InitOption,
    LimitOption,
    PresetOption,
    SeedsOption,
    TrainViewsOption,
    ViewsOption,
    say_where,
    show,
    write,
)
from worker.cli.train import (
    AuxiliaryOption,
    ChangeOption,
    DeviceOption,
    HoldOutOption,
    command_line,
    describe_start,
    start_of,
)
from worker.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    app.command()(ingredients)


def ingredients(
    films: FilmsArgument = RUNS,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, anew after each training.")] = None,
    preset: PresetOption = "reference",
    init: InitOption = "random",
    without_pretraining: Annotated[
        str, typer.Option(help="What pretraining began with: imagenet or a file.", metavar="START")
    ] = "",
    added: Annotated[str, typer.Option(help="Folder name of the added films, the column set.", metavar="SET")] = "",
    seeds: SeedsOption = 1,
    epochs: EpochsOption = None,
    limit: LimitOption = 0,
    views: ViewsOption = "PA",
    train_views: TrainViewsOption = "",
    auxiliary: AuxiliaryOption = None,
    hold_out: HoldOutOption = 0.0,
    only: Annotated[str, typer.Option(help="Rows, comma-separated; all that would change something.")] = "",
    change: ChangeOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a stopped run left in --out.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """The same recipe with one ingredient left out, a row each.

    Rows: everything, pretraining, random (weights), auxiliary, added, balancing,
    hiding (the source), mined (pneumonias at weight 1). Those that the recipe and
    the films have nothing of are left out.

    \b
    xrayq study ingredients --films runs/all --init runs/trunk.pt --without-pretraining runs/start.pt \\
      --added cxr3-more --auxiliary aux/ --auxiliary aux2/ --train-views all --seeds 5 --out runs/ingredients.json
    xrayq study ingredients --only everything,balancing --set sizes=[[160,4]] --out runs/ingredients.json --resume
    """
    require("training")
    from model.data.dataset import load_dataset
    from model.training.ingredients import (
        INGREDIENTS,
        Extras,
        ingredient_study,
        rows_of,
        table_of,
        trainings_in,
    )
    from model.training.loop import describe_device
    from model.training.study_figures import columns_of

    wanted = parse_names(only)
    for name in wanted:
        must_be_one_of(name, INGREDIENTS, "--only")
    if resume and not out:
        raise ConfigurationError("--resume needs --out: the file that a stopped run left")
    if out and out.exists() and not resume:
        raise ConfigurationError(f"{out} exists: --resume goes on with it, or choose another --out")
    pretrained_from = start_of(without_pretraining) if without_pretraining else ""
    if pretrained_from is None:
        raise ConfigurationError("--without-pretraining random trains the row random twice: leave the option out")
    extras = Extras(pretrained_from=pretrained_from, added=added)
    console = wide_console()
    with one_line_errors():
        bench = BenchOptions(
            films=films, out=out, preset=preset, init=init, seeds=seeds, epochs=epochs, limit=limit, views=views,
            train_views=train_views, device=device, change=change, auxiliary=auxiliary, hold_out=hold_out,
        ).bench(console)  # fmt: skip
        whole = load_dataset(films, views=(), limit=limit)
        columns, rows = columns_of(bench.dataset, whole, bench.config), rows_of(bench, extras, wanted)
        record = {
            "start": [describe_start(init)],
            "pretrained_from": describe_start(without_pretraining) if without_pretraining else "not said",
            "added": added or "none",
            "held_out": hold_out,
            "device": describe_device(bench.device),
            "command": command_line(),
        }
        before = table_of(bench, columns, (), record).provenance
        done = trainings_in(out, before) if out and out.exists() else ()
        if idle := [name for name in INGREDIENTS if name not in rows and not wanted]:
            console.print(f"no row for what this recipe and these films have nothing of: {', '.join(idle)}")
        result = ingredient_study(
            bench,
            columns,
            rows,
            record,
            done=done,
            keep=lambda table, trainings: (
                write(out, table.as_dict() | {"trainings": [one.as_dict() for one in trainings]}) if out else None
            ),
        )
    show(console, result)
    if out:
        say_where(console, out)
