"""The `xrayq` command. Commands import what they need when they run, so `--help` stays quick."""

import os
import select
import sys
from typing import Annotated

import typer

from worker.cli import (
    alarm,
    audit,
    backfill,
    bundle,
    calibrate,
    card,
    commitment,
    compare,
    compile,
    db,
    demo,
    device,
    doctor,
    drift,
    evaluate,
    evidence,
    gate,
    instance,
    labels,
    outcome,
    pacs,
    peer,
    prepare,
    pretrain,
    processes,
    replay,
    report,
    roles,
    simulate,
    status,
    study,
    study_ingredients,
    study_seeds,
    study_source,
    submit,
    train,
    trunk,
    user,
)
from worker.errors import EXIT_CODES, Unhealthy, WorkerError

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


def print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"xrayq {version('xrayq')}")
        raise typer.Exit


app = typer.Typer(
    name="xrayq",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=EPILOG,
    help="""Scores chest radiographs that a PACS sends by DICOM C-STORE. Not a medical device.

    \b
    See it work:                    [bold]xrayq demo[/bold]
    Run everything on one machine:  [bold]xrayq up[/bold]
    Score a film of this machine:   [bold]xrayq submit film.dcm[/bold]
    Send one, if DCMTK is here:     [bold]dcmsend 127.0.0.1 11112 film.dcm[/bold]
    Look at the scores:             [bold]xrayq instance list[/bold]
    Is all well?                    [bold]xrayq status[/bold]
    What is wrong?                  [bold]xrayq doctor[/bold]
    """,
)
processes.register(app)
submit.register(app)
roles.register(bundle.app)
compare.register(bundle.app)
card.register(bundle.app)
replay.register(instance.app)
study_ingredients.register(study.app)
study_seeds.register(study.app)
study_source.register(study.app)
demo.register(app)
app.add_typer(instance.app, name="instance", rich_help_panel="Look after")
app.add_typer(outcome.app, name="outcome", rich_help_panel="Look after")
app.add_typer(peer.app, name="peer", rich_help_panel="Look after")
app.add_typer(bundle.app, name="bundle", rich_help_panel="Look after")
app.add_typer(report.app, name="report", rich_help_panel="Look after")
app.add_typer(commitment.app, name="commitment", rich_help_panel="Look after")
app.add_typer(device.app, name="device", rich_help_panel="Look after")
app.add_typer(pacs.app, name="pacs", rich_help_panel="Look after")
app.add_typer(backfill.app, name="backfill", rich_help_panel="Look after")
app.add_typer(user.app, name="user", rich_help_panel="Look after")
app.add_typer(alarm.app, name="alarm", rich_help_panel="Look after")
app.add_typer(audit.app, name="audit", rich_help_panel="Look after")
app.add_typer(evidence.app, name="evidence", rich_help_panel="Look after")
app.add_typer(labels.app, name="labels", rich_help_panel="Look after")
app.add_typer(drift.app, name="drift", rich_help_panel="Look after")
app.add_typer(db.app, name="db", rich_help_panel="Look after")
status.register(app)
simulate.register(app)
doctor.register(app)
prepare.register(app)
app.add_typer(trunk.app, name="trunk", rich_help_panel="Train")
pretrain.register(app)
train.register(app)
compile.register(app)
calibrate.register(app)
app.add_typer(gate.app, name="gate", rich_help_panel="Train")
app.add_typer(study.app, name="study", rich_help_panel="Train")
evaluate.register(app)


@app.callback()
def xrayq(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Nothing: each command builds what it needs."""


def main() -> None:
    """Entry point: a known error is one line on standard error and its exit code."""
    # ONNX Runtime's wheels for Linux keep a device id in the home folder and report to their maker unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        app(prog_name="xrayq")
    except WorkerError as error:
        _say(f"xrayq: {error}")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except OSError as error:
        if not error.filename:
            _write_log()
            raise
        _say(f"xrayq: {error.filename}: {error.strerror}")
        raise SystemExit(Unhealthy.exit_code) from None
    except Exception as error:
        fault = _of_database(error)
        if not fault:
            _write_log()  # before the traceback that Python prints
            raise
        _say(f"xrayq: the database failed: {fault}")
        raise SystemExit(Unhealthy.exit_code) from None


def _of_database(error: Exception) -> str:
    """What befell a database that was there when the command began, "" for other errors."""
    if "sqlalchemy" not in sys.modules:
        return ""
    from sqlalchemy.exc import SQLAlchemyError

    from worker.db.causes import known

    return known(error) if isinstance(error, SQLAlchemyError) else ""


def _say(words: str) -> None:
    """After what was logged. A process that serves and that nobody reads ends without: its exit code must not hang."""
    _write_log()
    try:
        descriptor = sys.stderr.fileno()
        read = os.get_blocking(descriptor) or select.select([], [descriptor], [], 0)[1]
    except (OSError, ValueError):  # no file: a test's own
        read = True
    if read:
        print(words, file=sys.stderr)  # noqa: T201


def _write_log() -> None:
    if logs := sys.modules.get("worker.logs"):  # else nothing was logged
        logs.flush()
