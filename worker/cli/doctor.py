"""xrayq doctor and health: is everything there that is needed? Is one process at work?"""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.common import JsonOption, load_settings, print_json
from worker.errors import Unhealthy


class ProcessName(StrEnum):
    """The processes that can be asked for."""

    GATEWAY = "gateway"
    RELAY = "relay"
    WORKER = "worker"


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after")(doctor)
    app.command(rich_help_panel="Look after")(health)


def doctor(as_json: JsonOption = False) -> None:
    """Check gateway, spool, database, Redis, worker, bundle and backlog. Exit code 5 names what is wrong.

    \b
    xrayq doctor
    xrayq doctor --json
    """
    from worker import logs
    from worker.status.doctor import run

    settings = load_settings()
    logs.configure("ERROR", settings.log_format)
    findings = run(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = typer.style("ok   ", fg="green") if finding.ok else typer.style("WRONG", fg="red", bold=True)
            typer.echo(f"{mark}  {finding.check:<9} {finding.text}")
    wrong = [finding.check for finding in findings if not finding.ok]
    if wrong:
        raise Unhealthy(f"{len(wrong)} of {len(findings)} checks failed: {', '.join(wrong)}")


def health(
    role: Annotated[ProcessName, typer.Argument(help="The process to ask for.")], as_json: JsonOption = False
) -> None:
    """Is this host's gateway, relay or worker ready? Asks its own /readyz. Exit code 5 if not.

    For health checks of containers. Prometheus finds /metrics on the same port.

    \b
    xrayq health gateway
    xrayq health worker --json
    """
    from worker import logs
    from worker.health import client
    from worker.processes.endpoints import processes

    settings = load_settings()
    logs.configure("ERROR", settings.log_format)
    findings = client.ask(processes(settings)[role])
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        typer.echo(f"{role}: {'; '.join(f'{one.check}: {one.text}' for one in findings)}")
    wrong = [f"{finding.check}: {finding.text}" for finding in findings if finding.stops]
    if wrong:
        raise Unhealthy(f"{role} is not ready: {'; '.join(wrong)}")
