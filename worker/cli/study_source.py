"""xrayq study source: one source left out of training at a time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import UnseenOption, labelled_folder, parse_names
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
    run_study,
)
from worker.cli.train import AuxiliaryOption, ChangeOption, DeviceOption, HoldOutOption
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from model.training.source_study import Unseen


def register(app: typer.Typer) -> None:
    app.command()(source)


def source(
    films: FilmsArgument = RUNS,
    out: OutOption = None,
    preset: PresetOption = "paper",
    init: InitOption = "random",
    seeds: SeedsOption = 1,
    epochs: EpochsOption = None,
    limit: LimitOption = 0,
    views: ViewsOption = "PA",
    train_views: TrainViewsOption = "",
    auxiliary: AuxiliaryOption = None,
    hold_out: HoldOutOption = 0.0,
    unseen: UnseenOption = None,
    only: Annotated[str, typer.Option(help="Sources to leave out, comma-separated; all that have normal films.")] = "",
    change: ChangeOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Flags on normal films of a hospital never seen: one source left out of training at a time.

    One training for each source and seed. A source of --auxiliary films is left
    out of these, too; what a pretrained trunk has seen of it cannot be.

    \b
    xrayq study source --films runs/all --preset reference --init runs/trunk.pt --views all --out runs/source.json
    xrayq study source --only siim --unseen aux/=openist:normal --set sizes=[[160,4]]
    """
    from model.training.source_study import source_study

    places = [labelled_folder(text) for text in unseen or []]
    wanted = parse_names(only)
    run_study(
        lambda bench: source_study(
            bench, [_normal_films(place, label, bench.dataset.spec.size) for place, label in places], wanted
        ),
        BenchOptions(
            films=films, out=out, preset=preset, init=init, seeds=seeds, epochs=epochs, limit=limit, views=views,
            train_views=train_views, device=device, change=change, auxiliary=auxiliary, hold_out=hold_out,
        ),
    )  # fmt: skip


def _normal_films(folder: Path, label: str, size: int) -> "Unseen":
    from model.data.auxiliary import load_auxiliary
    from model.training.source_study import Unseen

    found = load_auxiliary([folder], size=size)
    if label not in found.labels:
        raise ConfigurationError(f"--unseen {folder}={label}: no film has that label")
    chosen = found.truth[:, found.labels.index(label)] > 0
    return Unseen(source=label.split(":")[0], images=found.images[chosen])
