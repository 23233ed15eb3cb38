"""xrayq bundle card: the model card beside a bundle, for programs and for people."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model.notice import NOTICE
from worker.cli.bundle import BundlePath, load_bundle
from worker.cli.common import JsonOption, must_exist, print_json, require, writing_to
from worker.errors import WorkerError

if TYPE_CHECKING:
    from model.bundle import Bundle

WRITTEN = Path("runs/report/evaluation.json")


def register(app: typer.Typer) -> None:
    app.command()(card)


def card(
    name: BundlePath = "reference",
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="What 'xrayq evaluate' wrote for it. Default: of a shipped bundle the file that is shipped with it, "
            f"of another one {WRITTEN}.",
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the card for people here, too; it is replaced.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle's model card from its evaluation: card.json in its folder.

    What it is for and not, when to ignore a score, what it was measured to do,
    on whose films, by which reference standard, and what may go wrong. It
    names the bundle's digest and changes nothing of the bundle. The same
    evaluation gives the same bytes. --json prints it, too.

    \b
    xrayq bundle card
    xrayq evaluate runs/bundle && xrayq bundle card runs/bundle
    xrayq bundle card runs/bundle --evaluation runs/report/evaluation.json --markdown runs/CARD.md
    """
    require("evaluation")
    from model.atomic_files import write_texts
    from model.pages.card import card as card_text
    from model.pages.card import read_evaluation
    from model.pages.card_file import CARD
    from model.pages.card_json import card_json

    bundle = load_bundle(name)
    evaluation = evaluation or _shipped_evaluation(bundle) or WRITTEN
    must_exist(evaluation, first=f"xrayq evaluate {name}")
    if markdown and markdown.resolve() in _kept(bundle, evaluation):
        raise WorkerError(f"{markdown} is a file that the card is made from or part of the bundle: name another one")
    try:
        content = read_evaluation(evaluation)
    except (OSError, ValueError) as error:
        raise WorkerError(f"{evaluation} is no evaluation of 'xrayq evaluate': {_first_line(error)}") from None
    try:
        text = card_json(bundle, content)
        page = card_text(bundle, content) if markdown else ""
    except LookupError as error:
        raise WorkerError(f"{evaluation}, or the bundle's manifest, has no entry {error}") from None
    except ValueError as error:
        raise WorkerError(f"{evaluation}: {error}") from None
    texts = {bundle.path / CARD: text} | ({markdown: page} if markdown else {})
    with writing_to(bundle.path / CARD):
        write_texts(texts)
    if as_json:
        print_json(json.loads(text))
    else:
        typer.echo(f"wrote {' and '.join(map(str, texts))}. {NOTICE}")


def _shipped_evaluation(bundle: "Bundle") -> Path | None:
    """The evaluation beside a shipped bundle; None where there is none."""
    from model.bundle import SHIPPED

    beside = bundle.path.with_name(f"{bundle.path.name}.evaluation.json")
    return beside if bundle.path.parent == SHIPPED and beside.is_file() else None


def _kept(bundle: "Bundle", evaluation: Path) -> set[Path]:
    """Files that no page may replace."""
    from model.bundle import MANIFEST
    from model.pages.card_file import CARD

    own = (bundle.path / name for name in (MANIFEST, CARD, *bundle.files))
    return {path.resolve() for path in (evaluation, *own)}


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
