"""xrayq gate: teach a bundle which films are not for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.notice import NOTICE
from worker.cli.bundle import gate_lines, load_bundle
from worker.cli.common import PREPARE, JsonOption, must_be_writable, must_exist, one_line_errors, print_json, require
from worker.cli.train import command_line

if TYPE_CHECKING:
    from model.gate.training_films import GateFilms

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="The gate: which films a bundle does not score.")


@app.command()
def train(
    films: Annotated[Path, typer.Argument(help="What 'xrayq prepare --views all' wrote.", metavar="FOLDER")] = Path(
        "runs/all"
    ),
    auxiliary: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of more films with a column view: metadata.csv and tar shards; repeatable."),
    ] = None,
    bundle: Annotated[str, typer.Option(help="Bundle that gets the gate; shipped name or folder.")] = "reference",
    out: Annotated[Path, typer.Option(help="The new bundle; must not exist.")] = Path("runs/gated"),
    epochs: Annotated[int | None, typer.Option(help="Override the recipe's epochs.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Override the recipe's seed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the small network that looks at view, turn and polarity, and write a new bundle with it.

    Thresholds are chosen on the split val: all rules on pixels together refuse
    at most 2 % of its PA films of adults, and at most 5 % of those of a source
    that has 20 or more. The split test is only measured. The scores of the
    bundle do not change.

    It also learns from the films turned, inverted and in rims of collimation.
    Films of other views than PA and AP, and of sources that have only one of
    these two, teach what a chest film looks like, and no view.

    \b
    xrayq gate train runs/all --auxiliary aux/ --auxiliary aux2/ --out runs/gated
    XRAYQ_BUNDLE=runs/gated xrayq up
    """
    require("training")
    from dataclasses import replace

    from model.gate.build import build_gate
    from model.training.gate_network import GateConfig, GateEpoch, train_gate

    config = GateConfig()
    config = replace(config, epochs=epochs or config.epochs, seed=config.seed if seed is None else seed)

    def report(epoch: GateEpoch) -> None:
        typer.echo(f"epoch {epoch.epoch:>3}  loss {epoch.loss:.4f}  {epoch.seconds:.0f} s", err=True)

    def run(lessons: "GateFilms", path: Path) -> dict[str, Any]:
        typer.echo(f"{len(lessons.views)} films", err=True)
        train_gate(lessons, config, path, report=report)
        return config.as_dict()

    must_exist(films, first=PREPARE)
    must_exist(*(auxiliary or []))
    must_be_writable(out)
    with one_line_errors():
        made = build_gate(load_bundle(bundle), films, out, train=run, auxiliary=auxiliary or (), command=command_line())
    if as_json:
        print_json({"path": str(out), "digest": made.digest, "gate": made.gate, "notice": NOTICE})
        return
    for line in gate_lines(made):
        typer.echo(line)
    typer.echo(f"wrote {out}, digest {made.digest[:12]}: XRAYQ_BUNDLE={out} xrayq up")
    typer.echo(NOTICE)
