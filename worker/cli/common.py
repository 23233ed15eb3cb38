"""What several commands share: settings, an opened database, output for people or machines."""

import getpass
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console
    from sqlalchemy import Engine

    from worker.settings import Settings

TEST_VARIABLES = {"XRAYQ_TEST_FILMS", "XRAYQ_TEST_NIGHT_FILMS", "XRAYQ_REQUIRE_SERVICES"}
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def load_settings(**overrides: Any) -> "Settings":
    """Settings from file and environment. Raises ConfigurationError naming each wrong setting, one line."""
    import os
    import tomllib
    from pathlib import Path

    from pydantic import ValidationError

    from worker.settings import CONFIG_VARIABLE, Settings

    known = {f"XRAYQ_{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE} | TEST_VARIABLES
    if unknown := sorted(name for name in os.environ if name.startswith("XRAYQ_") and name not in known):
        raise ConfigurationError(f"settings: {', '.join(unknown)} is not a setting; worker/SETTINGS.md lists them")
    config = os.environ.get(CONFIG_VARIABLE)
    if config and (not Path(config).exists() or Path(config).is_dir()):
        raise ConfigurationError(f"settings file {config} ({CONFIG_VARIABLE}) is not there")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigurationError(f"settings: {faults}") from None
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise ConfigurationError(f"settings file: {error}") from None


def start_logging(settings: "Settings") -> None:
    from worker import logs

    logs.configure(settings.log_level, settings.log_format)


def open_database(settings: "Settings") -> "Engine":
    """An engine whose schema is this version's.

    Raises Unhealthy when it is not, or when the database does not answer.
    """
    from worker.db import schema

    return schema.connect(settings.database)


def broker_url(settings: "Settings") -> str:
    if not settings.redis_url:
        raise ConfigurationError(
            "XRAYQ_REDIS_URL is not set: 'xrayq up' brings its own Redis, single processes need one"
        )
    return settings.redis_url


def operator() -> str:
    """Who typed the command, for the audit trail."""
    try:
        return f"operator:{getpass.getuser()}"[:64]
    except (KeyError, OSError):
        return "operator"


def wide_console() -> "Console":
    """A console for tables: the terminal's width, or 132 columns into a pipe or file."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=132)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def parse_views(text: str) -> tuple[str, ...]:
    """PA,AP as a tuple; 'all' as the empty one."""
    return () if text == "all" else tuple(view.strip() for view in text.split(",") if view.strip())


@contextmanager
def progress(console: "Console", name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while the block runs, called with (done, total); on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
