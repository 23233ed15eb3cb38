"""xrayq bundle card: the model card beside a bundle, for programs and for people."""

import json
from pathlib import Path
from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.common import JsonOption, must_exist, print_json, require, writing_to
from worker.errors import WorkerError


def register(app: typer.Typer) -> None:
    app.command()(card)


def card(
    name: BundlePath = "reference",
    evaluation: Annotated[Path, typer.Option(help="What 'xrayq evaluate' wrote for it.")] = Path(
        "runs/report/evaluation.json"
    ),
    markdown: Annotated[Path | None, typer.Option(help="Write the card for people here, too; it is replaced.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle's model card from its evaluation: card.json in its folder.

    What it is for and not, when to ignore a score, what it was measured to do,
    on whose films, by which reference standard, and what may go wrong. It
    names the bundle's digest and changes nothing of the bundle. The same
    evaluation gives the same bytes. --json prints it, too.

    \b
    xrayq evaluate runs/bundle && xrayq bundle card runs/bundle
    xrayq bundle card runs/bundle --evaluation runs/report/evaluation.json --markdown runs/CARD.md
    """
    require("evaluation")
    from model.pages.card import card as card_text
    from model.pages.card import read_evaluation
    from model.pages.card_file import CARD
    from model.pages.card_json import card_json

    bundle = load_bundle(name)
    must_exist(evaluation, first=f"xrayq evaluate {name}")
    try:
        content = read_evaluation(evaluation)
    except (OSError, ValueError) as error:
        raise WorkerError(f"{evaluation} is no evaluation of 'xrayq evaluate': {_first_line(error)}") from None
    try:
        text = card_json(bundle, content)
        page = card_text(bundle, content) if markdown else ""
    except ValueError as error:
        raise WorkerError(f"{evaluation}: {error}") from None
    written = [bundle.path / CARD]
    with writing_to(written[0]):
        written[0].write_text(text, encoding="utf-8")
    if markdown:
        with writing_to(markdown):
            markdown.write_text(page, encoding="utf-8")
        written.append(markdown)
    if as_json:
        print_json(json.loads(text))
    else:
        typer.echo(f"wrote {' and '.join(map(str, written))}. {NOTICE}")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
