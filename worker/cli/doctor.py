"""xrayq doctor and health: is everything there that is needed? Is one process at work?"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import JsonOption, load_settings, must_be_one_of, print_json
from worker.errors import Unhealthy

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.status.doctor import DoctorOptions


PROCESSES = ("gateway", "relay", "worker")


def _processes(begun: str) -> list[str]:
    """For the shell's completion."""
    return [name for name in PROCESSES if name.startswith(begun)]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look after")(doctor)
    app.command(rich_help_panel="Look after")(health)


def doctor(as_json: JsonOption = False) -> None:
    """Check processes, stores, bundle, backlog, settings of results, and PACSs. Exit code 5 when something is wrong.

    \b
    xrayq doctor
    xrayq doctor --json
    """
    from worker import logs
    from worker.status.doctor import run

    settings = load_settings()
    logs.configure("ERROR", settings.log_format)
    checks = run(_options(settings))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            mark = typer.style("ok   ", fg="green") if check.ok else typer.style("WRONG", fg="red", bold=True)
            typer.echo(f"{mark}  {check.check:<9} {check.text}")
    wrong = [check.check for check in checks if not check.ok]
    if wrong:
        raise Unhealthy(f"{len(wrong)} of {len(checks)} checks failed: {', '.join(wrong)}")


def _options(settings: "Settings") -> "DoctorOptions":
    from functools import partial

    from worker.processes.ask_options import ask_options
    from worker.processes.audit_options import repository
    from worker.processes.redis_server import running_socket
    from worker.processes.tls_options import serves_tls, tls_to_ourselves
    from worker.status.doctor import DoctorOptions

    return DoctorOptions(
        repository=partial(repository, settings),
        audit_minutes=settings.alarm_audit_minutes,
        ask=ask_options(settings),
        host=settings.local_host if settings.port else settings.host,
        port=settings.port or settings.tls_port,
        tls=partial(tls_to_ourselves, settings),
        certificate=settings.tls_certificate if serves_tls(settings) else None,
        stow=settings.stow,
        ae_title=settings.ae_title,
        calling_aes=settings.calling_aes,
        unknown_peers=settings.unknown_peers,
        spool=settings.spool_folder,
        reserve_bytes=settings.spool_reserve_mib << 20,
        database_url=settings.database,
        database_seconds=settings.database_timeout,
        redis_url=settings.redis_url or running_socket(settings.home),
        lease_seconds=settings.lease_seconds,
        bundle=settings.bundle,
        engine=settings.engine,
        results_to=settings.results_to,
        commitment_to=settings.commitment_to,
        hl7_template=settings.hl7_template,
        told_flags=(*settings.told_flags, *settings.urgent),
        report_time=settings.report_time,
    )


def health(
    role: Annotated[
        str, typer.Argument(help="gateway, relay or worker.", metavar="PROCESS", autocompletion=_processes)
    ],
    as_json: JsonOption = False,
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

    must_be_one_of(role, PROCESSES, "PROCESS")
    settings = load_settings()
    logs.configure("ERROR", settings.log_format)
    checks = client.ask(processes(settings)[role])
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        typer.echo(f"{role}: {'; '.join(f'{check.check}: {check.text}' for check in checks)}")
    wrong = [f"{check.check}: {check.text}" for check in checks if check.stops]
    if wrong:
        raise Unhealthy(f"{role} is not ready: {'; '.join(wrong)}")
