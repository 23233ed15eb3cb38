"""xrayq prepare: labelled films to the arrays that training and evaluation read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    JsonOption,
    must_be_writable,
    must_exist,
    one_line_errors,
    parse_views,
    print_json,
    progress,
)
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from model.data.prepare import Prepared
    from model.data.raw_films import RawFilm

SHOWN = 10
"""Most look-alikes in the table."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Train")(prepare)


def prepare(
    films: Annotated[Path, typer.Argument(help="Folder with metadata.csv and the files it names.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")] = Path("runs/films"),
    views: Annotated[str, typer.Option(help="View positions, comma-separated, or 'all'.")] = "PA",
    size: Annotated[int, typer.Option(help="Side of the network's input, pixels; it takes 161 to 224.", min=1)] = 224,
    min_age: Annotated[float, typer.Option(help="Leave out patients known to be younger, years.")] = 18.0,
    split: Annotated[str, typer.Option(help="Shares of train, val, test where the table has no split.")] = "70/15/15",
    seed: Annotated[int, typer.Option(help="Of that split.")] = 2020,
    json_output: JsonOption = False,
) -> None:
    """Check labelled films and write them as arrays, preprocessed exactly as in serving.

    metadata.csv has the columns image_id, file, label (normal, pneumonia,
    covid19) and patient_id; it may have split (train, val, test), view, age,
    source and label_basis. Files are JPEG, PNG or DICOM. Films are cropped to
    squares, so that their shape cannot tell where they came from. A patient in
    two splits, or one film under two labels, is an error.

    \b
    xrayq prepare films/
    xrayq prepare films/ --views all --out runs/all
    """
    from rich.console import Console

    from model.data.prepare import prepare as run_prepare
    from model.preprocess import PreprocessSpec
    from worker import logs

    logs.silence_readers()
    must_exist(films)
    must_be_writable(out)
    console = Console(stderr=True)
    shares = _shares(split)
    with one_line_errors(), progress(console, "films read") as advance:
        prepared = run_prepare(
            films,
            out,
            spec=PreprocessSpec(size=size),
            read=read_film,
            views=parse_views(views),
            min_age=min_age,
            shares=shares,
            seed=seed,
            advance=advance,
        )
    if json_output:
        print_json(
            {
                "folder": str(out),
                "films": prepared.counts(),
                "left_out": prepared.left_out,
                "look_alikes": [list(pair) for pair in prepared.look_alikes],
            }
        )
    else:
        _show(prepared, out)


def read_film(path: Path) -> "RawFilm":
    """A JPEG, PNG or DICOM file as a film. Raises DatasetError if it is none."""
    from model.data.raw_films import RawFilm, read_image
    from model.errors import DatasetError

    with path.open("rb") as handle:
        handle.seek(128)
        dicom = handle.read(4) == b"DICM"
    if not dicom:
        return read_image(path)
    from dicom_gateway.errors import PixelError, Refusal
    from dicom_gateway.header import read_header
    from dicom_gateway.pixels import read_radiograph

    try:
        header, film = read_header(path), read_radiograph(path)
    except Refusal as error:
        raise DatasetError(f"not a DICOM film: {error.comment}") from error
    except PixelError as error:
        raise DatasetError(f"no radiograph in it: {error.reason}") from error
    return RawFilm(
        pixels=film.pixels,
        low=film.low,
        high=film.high,
        inverted=film.inverted,
        aspect=film.aspect,
        view="/".join(header.views),
        age=header.age_years,
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        parts = [float(part) for part in text.split("/")]
        return tuple(part / sum(parts) for part in parts)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"--split {text!r}: give shares as 70/15/15") from None


def _show(prepared: "Prepared", out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from model.data.dataset import SPLITS

    console, counts = Console(), prepared.counts()
    table = Table(title="Films by class and split", title_justify="left")
    table.add_column("class")
    for split in SPLITS:
        table.add_column(split, justify="right")
    table.add_column("all", justify="right")
    for label, row in counts.items():
        table.add_row(label, *(str(row[split]) for split in SPLITS), str(sum(row.values())))
    sums = [sum(row[split] for row in counts.values()) for split in SPLITS]
    table.add_row("all", *map(str, sums), str(sum(sums)), style="bold")
    console.print(table)
    patients = len({film.patient for film in prepared.records})
    console.print(f"{len(prepared.records)} films of {patients} patients; no patient is in two splits.")
    for reason, count in sorted(prepared.left_out.items()):
        console.print(f"left out: {count:>5}  {reason}", highlight=False)
    for first, second in prepared.look_alikes[:SHOWN]:
        console.print(f"look alike, in different splits: {first} and {second}", style="yellow", highlight=False)
    if more := len(prepared.look_alikes[SHOWN:]):
        console.print(f"and {more} more pairs look alike: --json lists them", style="yellow", highlight=False)
    console.print(f"wrote {out}: next, xrayq train {out}", highlight=False)
