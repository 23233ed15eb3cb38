"""What the commands of `xrayq study` share: options, the bench made of them, how a result is shown and written."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.common import (
    PREPARE,
    must_be_new,
    must_be_writable,
    must_exist,
    one_line_errors,
    parse_views,
    require,
    wide_console,
)
from worker.cli.train import PRESET_HELP, auxiliary_films, command_line, describe_start, recipe, start_of
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from model.study_table import Study
    from model.training.study import Bench

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


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What was typed of all that the trainings of a study have in common."""

    films: Path
    out: Path | None
    preset: str
    init: str = "random"
    seeds: int
    epochs: int | None
    limit: int
    views: str
    train_views: str = ""
    """"": as `views`."""
    device: str
    change: list[str] | None = None
    auxiliary: list[Path] | None = None
    hold_out: float = 0.0

    def bench(self, console: "Console") -> "Bench":
        """Raises ConfigurationError, or what the films raise."""
        from model.data.dataset import load_dataset
        from model.training.loop import pick_device
        from model.training.study import Bench

        must_exist(self.films, first=PREPARE)
        must_exist(*(self.auxiliary or []))
        if self.out:
            must_be_writable(self.out)
        config = replace(recipe(self.preset, self.change, epochs=self.epochs), members=1)
        if config.teacher_weight:
            raise ConfigurationError("--set teacher_weight: a study has no teacher")
        views, train_views = parse_views(self.views), parse_views(self.train_views or self.views)
        dataset = load_dataset(self.films, views=views, train_views=train_views, limit=self.limit)
        return Bench(
            dataset=dataset,
            config=config,
            initial=start_of(self.init),
            device=pick_device(self.device),
            seeds=range(config.seed, config.seed + self.seeds),
            report=lambda line: console.print(line, highlight=False),
            auxiliary=auxiliary_films(self.auxiliary, dataset.spec.size, self.films, self.hold_out),
        )


def run_study(study: "Callable[[Bench], Study]", options: BenchOptions, *, described: list[str] | None = None) -> None:
    """Train as `study` asks, show its table and write it.

    Args:
        described: the starts, for the record; None: that of the options.
    """
    require("training")
    from model.training.loop import describe_device

    must_be_new(options.out)
    console = wide_console()
    with one_line_errors():
        bench = options.bench(console)
        result = study(bench)
    made = {
        "start": described or [describe_start(options.init)],
        "device": describe_device(bench.device),
        "command": command_line(),
    }
    finish(console, replace(result, provenance=result.provenance | made), options.out)


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
    console.print(f"{study.note} {NOTICE}", highlight=False)


def write(out: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    import json

    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(out.name + ".part")
    draft.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(out)


def say_where(console: "Console", out: Path) -> None:
    console.print(f"wrote {out}: 'xrayq evaluate --study {out}' shows it in the report", highlight=False)
