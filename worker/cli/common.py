"""What several commands share: settings, an opened database, output for people or machines."""

import getpass
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.errors import ConfigurationError, NotFound, Unhealthy, WorkerError

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from pydantic_core import ErrorDetails
    from rich.console import Console

    from worker.settings import Settings

TEST_VARIABLES = {"XRAYQ_TEST_FILMS", "XRAYQ_TEST_NIGHT_FILMS", "XRAYQ_REQUIRE_SERVICES"}
LIBRARIES = {
    "training": ("torch", "torchvision", "onnx", "scipy", "sklearn"),
    "evaluation": ("matplotlib", "onnx", "scipy", "sklearn"),
    "calibration": ("matplotlib", "scipy"),
    "compile": ("onnx", "scipy"),
}
"""Packages of the `train` extra, by what needs them."""
PREPARE = "xrayq prepare"
LIKE = 0.7
"""Share of letters, as difflib counts them, from which one word may have been meant by another."""
UNBOUNDED = 100_000
"""Columns of what is not a terminal: no table is folded or leaves out a column."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
UnseenOption = Annotated[
    list[str] | None,
    typer.Option(help="Normal films of an auxiliary set that no training has, FOLDER=source:label; repeatable."),
]


def load_settings(**overrides: Any) -> "Settings":
    """Settings from file and environment. Raises ConfigurationError naming each wrong setting, one line."""
    import os
    import tomllib
    from pathlib import Path

    from pydantic import ValidationError

    from worker.secret_files import SECRETS, variable_of
    from worker.settings import CONFIG_FILE, CONFIG_VARIABLE, Settings

    known = {f"XRAYQ_{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE} | TEST_VARIABLES
    known |= {variable_of(name) for name in SECRETS}
    if unknown := sorted(name for name in os.environ if name.startswith("XRAYQ_") and name not in known):
        hints = (did_you_mean(name, known, prefix="XRAYQ_") for name in unknown)
        hint = next(filter(None, hints), "")
        raise ConfigurationError(
            f"settings: {', '.join(unknown)} is not a setting; worker/SETTINGS.md lists them{hint}"
        )
    config = os.environ.get(CONFIG_VARIABLE, CONFIG_FILE)
    try:
        if os.environ.get(CONFIG_VARIABLE) and (not Path(config).exists() or Path(config).is_dir()):
            raise ConfigurationError(f"settings file {config} ({CONFIG_VARIABLE}) is not there")
        return Settings(**overrides)
    except ValidationError as error:
        faults = dict.fromkeys(_fault(fault, config) for fault in error.errors())  # of a list each entry has one
        raise ConfigurationError("; ".join(faults)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"settings file {config} is no TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"settings file {config}: {error.strerror}") from None
    except ValueError as error:  # of a file with a secret
        raise ConfigurationError(str(error)) from None


def _fault(fault: "ErrorDetails", config: str) -> str:
    """What pydantic found, in words; never the value, which may be a password."""
    name = str(fault["loc"][0]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        from worker.settings import Settings

        hint = did_you_mean(name, Settings.model_fields)
        return f"{name} in {config} is not a setting; worker/SETTINGS.md lists them{hint}"
    words = fault["msg"]
    for prefix in ("Value error, ", "Input ", "String "):
        words = words.removeprefix(prefix)
    return f"XRAYQ_{name.upper()} {words}" if name else words


def require(purpose: str) -> None:
    """Raises Unhealthy when one of the LIBRARIES is missing."""
    from importlib.util import find_spec

    if missing := [name for name in LIBRARIES[purpose] if find_spec(name) is None]:
        raise Unhealthy(f"{purpose} needs {', '.join(missing)}: pip install 'xrayq[train]'")


def operator() -> str:
    """Who typed the command, for the audit trail."""
    try:
        return f"operator:{getpass.getuser()}"[:64]
    except (KeyError, OSError):
        return "operator"


def wide_console() -> "Console":
    """A console that shows text of others as it is. As wide as the terminal or COLUMNS; a file or pipe takes all."""
    import os

    from worker.cli.console import PlainConsole

    console = PlainConsole()
    return console if console.is_terminal or "COLUMNS" in os.environ else PlainConsole(width=UNBOUNDED)


def did_you_mean(word: str, words: Iterable[str], *, prefix: str = "") -> str:
    """A question that ends an error message; "" where no known word is like this one.

    Args:
        prefix: which all have, so that it makes no two words alike.
    """
    from difflib import get_close_matches

    known = [other.removeprefix(prefix) for other in words]
    close = get_close_matches(word.removeprefix(prefix), known, n=1, cutoff=LIKE)
    return f". Did you mean {prefix}{close[0]}?" if close else ""


def must_be_one_of(word: str, words: Iterable[str], name: str) -> None:
    """Raises ConfigurationError, which says what an argument or option may be. Typer's own words are a library's."""
    known = list(words)
    if word not in known:
        raise ConfigurationError(f"{name} is one of {', '.join(known)}{did_you_mean(word, known)}")


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def parse_views(text: str) -> tuple[str, ...]:
    """PA,AP as a tuple; 'all' as the empty one."""
    return () if text == "all" else parse_names(text)


def parse_names(text: str) -> tuple[str, ...]:
    """nih,siim as a tuple."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def labelled_folder(text: str) -> "tuple[Path, str]":
    """aux/=openist:normal -> (aux/, openist:normal). Raises ConfigurationError or NotFound."""
    from pathlib import Path

    folder, _, label = text.partition("=")
    if ":" not in label:
        raise ConfigurationError(f"--unseen {text}: write it as FOLDER=source:label, such as aux/=openist:normal")
    must_exist(Path(folder))
    return Path(folder), label


def past_day(text: str, zone: "ZoneInfo", option: str) -> "date":
    """YYYY-MM-DD, today or yesterday as a day of the zone; "" is yesterday. Raises ConfigurationError."""
    from datetime import date, datetime, timedelta

    today = datetime.now(zone).date()
    words = {"": today - timedelta(days=1), "yesterday": today - timedelta(days=1), "today": today}
    try:
        day = words[text] if text in words else date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} is YYYY-MM-DD, today or yesterday") from None
    if day > today:
        raise ConfigurationError(f"{option} {day} has not begun: it is {today} ({zone.key})")
    return day


def clock(moment: "datetime | str", zone: "ZoneInfo") -> str:
    """To the minute, on the site's clock; the zone is named once beside them.

    Args:
        moment: with its zone; as text in ISO 8601.
    """
    from datetime import datetime

    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def to_the_second(moment: "datetime | str", zone: "ZoneInfo") -> str:
    """On the site's clock with its offset, which tells an hour that comes twice apart.

    Args:
        moment: with its zone; as text in ISO 8601.
    """
    from datetime import datetime

    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return at.astimezone(zone).isoformat(sep=" ", timespec="seconds")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A ModelError or an OSError of the block is one line. Raises WorkerError."""
    from model.errors import ModelError

    try:
        yield
    except (ModelError, OSError) as error:
        raise WorkerError(str(error)) from None


def must_exist(*paths: "Path", first: str = "") -> None:
    """Raises NotFound, which names the missing one and, where known, the command to run first."""
    for path in paths:
        if not path.exists():
            raise NotFound(f"no such folder or file: {path}" + (f": run '{first}' first" if first else ""))


@contextmanager
def writing_to(path: "Path") -> Iterator[None]:
    """An OSError of the block is one line that names the file. Raises WorkerError."""
    try:
        yield
    except OSError as error:
        raise WorkerError(f"cannot write {error.filename or path}: {error.strerror or error}") from None


def must_be_writable(out: "Path") -> None:
    """Before work that takes hours: where `out` goes, something can be made. Raises WorkerError."""
    import os

    with writing_to(out):
        place = next(folder for folder in out.absolute().parents if folder.exists())
    if not place.is_dir():
        raise WorkerError(f"cannot write {out}: {place} is not a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise WorkerError(f"cannot write {out}: no permission in {place}")


def must_be_new(out: "Path | None") -> None:
    """Raises where --out exists, or cannot be written."""
    if out and out.exists():
        raise ConfigurationError(f"{out} exists: choose another --out")
    if out:
        must_be_writable(out)


@contextmanager
def progress(console: "Console", name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while the block runs, called with (done, total); on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
