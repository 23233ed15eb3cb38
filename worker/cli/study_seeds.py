"""xrayq study seeds: networks of one recipe side by side."""

from dataclasses import replace
from typing import Annotated

import typer

from worker.cli.bundle import load_bundle
from worker.cli.common import PREPARE, must_be_new, must_exist, one_line_errors, require, wide_console
from worker.cli.study_bench import RUNS, FilmsArgument, OutOption, finish
from worker.cli.train import command_line
from worker.errors import ConfigurationError


def register(app: typer.Typer) -> None:
    app.command()(seeds)


def seeds(
    names: Annotated[list[str], typer.Argument(help="Bundles that differ in their seed alone.", metavar="BUNDLE...")],
    films: FilmsArgument = RUNS,
    out: OutOption = None,
) -> None:
    """Networks that differ in their seed alone: figures of each, their mean and range, and which one is chosen.

    Nothing is trained. Chosen is the network with the least log loss on validation
    films. Test films are measured and choose nothing.

    \b
    xrayq study seeds runs/seed1 runs/seed2 runs/seed3 --films runs/all --out runs/seeds.json
    """
    require("training")
    must_exist(films, first=PREPARE)
    if len(names) < 2:
        raise ConfigurationError("name two bundles or more")
    must_be_new(out)
    bundles = [load_bundle(name) for name in names]

    from model.training.seed_study import seed_study
    from worker.settings import cores

    console = wide_console()
    with one_line_errors():
        result = seed_study(bundles, films, threads=cores(), report=lambda line: console.print(line, highlight=False))
    finish(console, replace(result, provenance=result.provenance | {"command": command_line()}), out)
