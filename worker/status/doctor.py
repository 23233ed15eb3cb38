"""What `xrayq doctor` looks at. Each check returns what it found, or raises with what is wrong and what to do."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from dicom_gateway.peers import Policy
from dicom_gateway.spool import free_bytes
from model.errors import BundleError
from model.stats.manifest_measures import gate_shares
from worker.audit_messages import feed
from worker.audit_messages.transport import WORDS, Repository
from worker.backfill import jobs
from worker.backfill.progress import progress
from worker.bundles.roles import PlacedBundle, by_settings, in_service, live_digest, open_bundle
from worker.committing.listing import without_address
from worker.db import schema
from worker.db.causes import cause
from worker.db.session import database_time, reading
from worker.db.tables import instance, outbox
from worker.errors import Undelivered, Unhealthy, WorkerError
from worker.health import probes
from worker.health.probes import DOCTOR_TITLE, Check, knock, reachable
from worker.nightly import drawing
from worker.pacs import answering
from worker.pacs.options import AskOptions
from worker.peers import quarantine, table
from worker.queue.outbox import ahead
from worker.receiving import orphans, waiting
from worker.reporting import acceptance
from worker.reporting.destinations import routes_of, store_destinations
from worker.reporting.outlook import outlook
from worker.setting_values import is_loopback, listening_place
from worker.states import State
from worker.status.flow import ahead_text
from worker.words import counted, size

if TYPE_CHECKING:
    from dicom_gateway.tls import Followed
    from model.bundle import Bundle
    from model.stats.estimate import Proportion

STUCK_MINUTES = 15
LEAST_FREE = 1 << 30
"""Bytes. Below, a day of films does not fit, whatever the reserve."""
CERTIFICATE_DAYS = 14
"""Left; below, somebody has to renew it."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Where everything is that is looked at."""

    host: str
    port: int
    """Port of the gateway, without TLS where it has one."""
    tls: Callable[[], "Followed | None"]
    """What leads to it over TLS, where it has no other port; it raises BadCertificate. None without TLS."""
    certificate: Path | None
    """Ours for TLS; None: no port for it."""
    stow: str
    """XRAYQ_STOW, "" where nothing is taken by web."""
    ae_title: str
    calling_aes: tuple[str, ...]
    unknown_peers: str
    """As the setting has it."""
    spool: Path
    reserve_bytes: int
    database_url: str = field(repr=False)
    database_seconds: float
    """After which a silent one is given up."""
    redis_url: str = field(repr=False)
    """"" where no Redis is known."""
    lease_seconds: float
    bundle: Path | None
    """The bundle of the settings, live while none is activated."""
    engine: str
    results_to: tuple[str, ...]
    commitment_to: tuple[str, ...]
    hl7_template: Path | None
    """None: the shipped one."""
    told_flags: tuple[str, ...]
    """Findings that the settings name for messages of flags."""
    repository: Callable[[], Repository | None]
    """What leads to the site's audit repository; it raises ConfigurationError. None where there is none."""
    audit_minutes: float
    """After which it is to have an audit event."""
    ask: AskOptions | None
    """The PACSs of XRAYQ_ASK_PACS; None where it names none."""
    report_time: str
    """HH:MM of the nightly report, "" where none is made."""


def run(options: DoctorOptions) -> list[Check]:
    """Every check, in the order of the data flow; a failing one does not stop the others."""
    checks = []
    for name, look in CHECKS:
        try:
            checks.append(Check(check=name, ok=True, text=look(options)))
        except WorkerError as error:
            checks.append(Check(check=name, ok=False, text=str(error)))
        except SQLAlchemyError as error:
            checks.append(Check(check=name, ok=False, text=f"the database does not answer: {cause(error)}"))
    return checks


def _gateway(options: DoctorOptions) -> str:
    from dicom_gateway.errors import BadCertificate, CallingRejected, NoTls, PeerUnavailable, Rejected
    from dicom_gateway.scu import echo

    host, calling_ae = reachable(options.host), (*options.calling_aes, DOCTOR_TITLE)[0]
    try:
        tls = options.tls()
        context = tls.context() if tls else None
        echo(host, options.port, called_ae=options.ae_title, calling_ae=calling_ae, tls=context)
    except BadCertificate as error:
        raise Unhealthy(f"the gateway cannot be asked: {error}") from None
    except Rejected as error:
        if isinstance(error, CallingRejected) and options.unknown_peers == Policy.REJECT:
            return f"a gateway is up on {host}:{options.port}, and does not admit this machine as {calling_ae}: no peer"
        raise Unhealthy(f"{error}: see XRAYQ_AE_TITLE and XRAYQ_CALLING_AES, and whether that is ours") from None
    except NoTls as error:
        raise Unhealthy(
            f"{error}: the gateway must show XRAYQ_TLS_CERTIFICATE, and takes it from us only where "
            "XRAYQ_TLS_AUTHORITIES has who signed it"
        ) from None
    except PeerUnavailable as error:
        variable = "XRAYQ_TLS_PORT" if tls else "XRAYQ_PORT"
        raise Unhealthy(f"{error}: start 'xrayq up' or 'xrayq gateway', or set {variable}") from None
    over = " over TLS" if tls else ""
    return f"a gateway answers C-ECHO{over} on {host}:{options.port}, called {options.ae_title}"


def _peers(options: DoctorOptions) -> str:
    """What is in quarantine needs a person. That nobody is known yet is said, and is no fault of an installation."""
    engine = _connect(options)
    with reading(engine) as connection:
        peers, held = table.read(connection), quarantine.held_senders(connection)
    if held:
        films, senders = sum(sender.films for sender in held), {sender.calling_ae for sender in held}
        raise Unhealthy(
            f"{counted(films, 'film')} of {counted(len(senders), 'unknown AE')} in quarantine, not scored: "
            "'xrayq peer quarantine' shows them, 'xrayq peer admit AE' lets one in"
        )
    anywhere = sorted(name for name, peer in peers.items() if any(not network.prefixlen for network in peer.networks))
    open_to = f"; from any address: {', '.join(anywhere)}" if anywhere else ""
    if peers:
        return f"{counted(len(peers), 'peer')} known{open_to}; others: {options.unknown_peers or 'quarantine'}"
    if options.unknown_peers == Policy.ALLOW:
        return "nobody is asked who it is: XRAYQ_UNKNOWN_PEERS is allow"
    if options.unknown_peers == Policy.REJECT:
        return "no peer is known, and all are rejected: 'xrayq peer add' names one"
    local = is_loopback(reachable(options.host)) and options.host not in ("0.0.0.0", "::")
    if local and not options.unknown_peers and options.certificate is None:
        return "this machine alone reaches the gateway, and is let in"
    return "no peer is known: what comes from other machines waits in quarantine until 'xrayq peer admit AE'"


def _certificate(options: DoctorOptions) -> str:
    from dicom_gateway.errors import BadCertificate
    from dicom_gateway.tls import days_left

    if options.certificate is None:
        return "no TLS: XRAYQ_TLS_PORT names no port"
    try:
        days = days_left(options.certificate)
    except BadCertificate as error:
        raise Unhealthy(str(error)) from None
    if days < CERTIFICATE_DAYS:
        when = f"expires in {days:.0f} days" if days > 0 else f"expired {-days:.0f} days ago"
        raise Unhealthy(f"the certificate for TLS {when}: put a new one in its place, it is taken without a restart")
    return f"the certificate for TLS is good for {days:.0f} days"


def _stow(options: DoctorOptions) -> str:
    """Knocks only: who pushes shows a token or a certificate, which we have none of."""
    if not options.stow:
        return "nothing is taken by web: XRAYQ_STOW is empty"
    place = listening_place(options.stow)
    try:
        knock(reachable(place.host), place.port, tls=place.tls)
    except OSError as error:
        raise Unhealthy(
            f"nobody answers on {options.stow} ({error.strerror or type(error).__name__}): "
            "start 'xrayq up' or 'xrayq gateway', or see XRAYQ_STOW"
        ) from None
    plain = "" if place.tls or is_loopback(place.host) else ", without TLS: whoever listens in reads films and tokens"
    return f"pushes by web are taken on {options.stow}{plain}"


def _spool(options: DoctorOptions) -> str:
    folder = options.spool
    try:
        free, reserve = free_bytes(folder), options.reserve_bytes
    except OSError:
        raise Unhealthy(f"spool {folder} is not there: the gateway makes it when it starts") from None
    if free < reserve:
        raise Unhealthy(f"spool has {size(free)} free, below the reserve of {size(reserve)}")
    if free < LEAST_FREE:
        raise Unhealthy(f"spool has {size(free)} free and a reserve of {size(reserve)} (XRAYQ_SPOOL_RESERVE_MIB)")
    return f"{size(free)} free"


def _database(options: DoctorOptions) -> str:
    return probes.database(_connect(options))


def _connect(options: DoctorOptions) -> Engine:
    return schema.connect(options.database_url, options.database_seconds)


def _orphans(options: DoctorOptions) -> str:
    digests = orphans.orphans(_connect(options), options.spool)
    if digests:
        raise Unhealthy(orphans.in_words(digests))
    if digests is not None:
        return "every film of the spool is in the database"
    raise Unhealthy(f"not known: the spool {options.spool} is not there, or cannot be read from here")


def _redis(options: DoctorOptions) -> str:
    from worker.errors import PublishError
    from worker.queue import broker

    url = _broker(options)
    try:
        broker.answers(broker.make_app(url, visibility_seconds=options.lease_seconds))
    except PublishError as error:
        raise Unhealthy(f"Redis at {broker.address(url)}: {error}; check it and XRAYQ_REDIS_URL") from None
    return f"answers at {broker.address(url)}"


def _worker(options: DoctorOptions) -> str:
    from worker.errors import PublishError
    from worker.queue import broker

    try:
        count = broker.ping(broker.make_app(_broker(options), visibility_seconds=options.lease_seconds))
    except PublishError as error:
        raise Unhealthy(f"cannot ask for workers: {error}") from None
    if not count:
        raise Unhealthy("no worker answers: start 'xrayq up' or 'xrayq worker'")
    return f"{count} answering"


def _bundle(options: DoctorOptions) -> str:
    live: PlacedBundle | None = None
    shadows: list[PlacedBundle] = []
    with suppress(WorkerError, SQLAlchemyError):  # the database has a check of its own
        live, shadows = _placed(options)
    try:
        bundle = open_bundle(live or by_settings(options.bundle))
        shadow_bundles = [open_bundle(shadow) for shadow in shadows]
        gate = _gate_of(bundle)
    except BundleError as error:
        raise Unhealthy(str(error)) from None
    precisions = ", ".join(("fp32", *bundle.variants))
    text = f"{bundle.name} {bundle.version}, digest {bundle.digest[:12]}, {precisions}; engine {options.engine}"
    text += f"; gate: {gate}"
    return text + "".join(
        f"; shadow {shadow.name} {shadow.version}, digest {shadow.digest[:12]}" for shadow in shadow_bundles
    )


def _placed(options: DoctorOptions) -> tuple[PlacedBundle | None, list[PlacedBundle]]:
    with reading(_connect(options)) as connection:
        return in_service(connection)


def _gate_of(bundle: "Bundle") -> str:
    """What it does, in words. Raises BundleError where that is not in the manifest."""
    if bundle.gate is None:
        return "header and image quality alone"
    val = gate_shares(bundle)["val"]
    return (
        f"refuses {_percent(val.eligible_refused)} of eligible validation films and "
        f"{_percent(val.ap_tagged_pa_refused)} of AP films called PA"
    )


def _percent(share: "Proportion") -> str:
    return "none measured" if share.value is None else f"{share.value:.1%}"


def _backlog(options: DoctorOptions) -> str:
    with reading(_connect(options)) as connection:
        films = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
        failed = connection.execute(select(func.count()).where(instance.c.state == State.FAILED)).scalar_one()
        oldest = waiting.oldest(connection)
        now = database_time(connection)
        early = ahead(connection, now)
    if early:
        raise Unhealthy(ahead_text(early))
    if oldest and now - oldest > timedelta(minutes=STUCK_MINUTES):
        raise Unhealthy(f"{films} films wait, the oldest since {oldest:%Y-%m-%d %H:%M} UTC: is a worker running?")
    return f"{films} films wait, {failed} dead letters"


def _results(options: DoctorOptions) -> str:
    """Whose results are sent is a person's choice: no state of it is wrong."""
    with reading(_connect(options)) as connection:
        text = outlook(connection, routes_of(options.results_to))
        live = live_digest(connection, options.bundle)
        of_other = [device.calling_ae for device in acceptance.devices(connection) if device.outdated(live)]
    if not of_other:
        return text
    return f"{text}; accepted on evidence of another bundle: {', '.join(of_other)}, see 'xrayq device check AE'"


def _audit(options: DoctorOptions) -> str:
    """Whether somebody listens there, as this machine sees it, and how far the relay got."""
    repository = options.repository()
    if repository is None:
        return "no audit repository: XRAYQ_AUDIT_TO names none"
    try:
        repository.send([])
    except Undelivered as failure:
        raise Unhealthy(f"audit repository {repository.name}: {WORDS[str(failure)]}") from None
    with reading(_connect(options)) as connection:
        stands, now = feed.standing(connection), database_time(connection)
    if stands and stands.behind_seconds(now) > options.audit_minutes * 60:
        why = f"{WORDS[stands.reason]}" if stands.reason in WORDS else "is a relay running?"
        raise Unhealthy(f"audit repository {repository.name}: {stands.waiting} audit events wait; {why}")
    return f"audit repository {repository.name} can be reached; {stands.waiting if stands else 0} audit events wait"


def _commitment(options: DoctorOptions) -> str:
    addresses = store_destinations(options.commitment_to)
    with reading(_connect(options)) as connection:
        lost = sorted(without_address(connection) - addresses.keys())
    if lost:
        raise Unhealthy(
            f"{', '.join(lost)} asked for storage commitment and left before the report: XRAYQ_COMMITMENT_TO has no "
            "address of it"
        )
    return f"storage commitment is reported to {', '.join(addresses) or 'whoever stays for the report'}"


def _pacs(options: DoctorOptions) -> str:
    """Those of the night's question, from which backfills are fetched too."""
    if options.ask is None:
        return "no PACS is asked for its films: XRAYQ_ASK_PACS is empty"
    if faults := answering.faults(options.ask):
        raise Unhealthy(f"{'; '.join(faults)}. 'xrayq pacs check' asks for today's studies")
    names = ", ".join(pacs.called_ae for pacs in options.ask.pacs)
    return f"C-FIND is accepted by {names}"


def _backfill(options: DoctorOptions) -> str:
    """One that rests because something is wrong needs a person."""
    with reading(_connect(options)) as connection:
        found = [progress(connection, job) for job in jobs.newest(connection) if job.ended_at is None]
    if stuck := [
        f"{one.job.pacs}: {'; '.join(filter(None, (one.rests, *one.tried_in_words())))}"
        for one in found
        if one.needs_somebody
    ]:
        raise Unhealthy(f"a backfill needs somebody. {'; '.join(stuck)}")
    words = [f"{one.job.pacs}: {counted(one.here, 'film')} fetched, {one.left} left" for one in found]
    return f"backfill of {'; '.join(words)}" if words else "no backfill is under way"


def _report(options: DoctorOptions) -> str:
    if fault := drawing.fault():
        raise Unhealthy(f"no nightly report: {drawing.advice(fault)}")
    return f"can be drawn, each day at {options.report_time}" if options.report_time else "can be drawn by hand"


def _messages(options: DoctorOptions) -> str:
    """What would be found out by the first result alone."""
    from worker.reporting.hl7.template import read_template

    read_template(options.hl7_template)
    live: PlacedBundle | None = None
    with suppress(WorkerError, SQLAlchemyError):  # the database has a check of its own
        live, _ = _placed(options)
    try:
        bundle = open_bundle(live or by_settings(options.bundle))
    except BundleError:
        raise Unhealthy("not known: the bundle cannot be read") from None
    flags = sorted({point.finding for point in bundle.operating_points})
    if unknown := sorted(set(options.told_flags) - set(flags)):
        raise Unhealthy(
            f"XRAYQ_URGENT or XRAYQ_TOLD_FLAGS names {', '.join(unknown)}, which is no flag of {bundle.name} "
            f"{bundle.version}: it has {', '.join(flags)}"
        )
    return f"HL7 template {options.hl7_template or 'as shipped'}; flags: {', '.join(flags)}"


def _broker(options: DoctorOptions) -> str:
    if not options.redis_url:
        raise Unhealthy("no Redis: 'xrayq up' is not running in this home, and XRAYQ_REDIS_URL is not set")
    return options.redis_url


CHECKS: tuple[tuple[str, Callable[[DoctorOptions], str]], ...] = (
    ("gateway", _gateway),
    ("tls", _certificate),
    ("stow", _stow),
    ("peers", _peers),
    ("spool", _spool),
    ("database", _database),
    ("orphans", _orphans),
    ("redis", _redis),
    ("worker", _worker),
    ("bundle", _bundle),
    ("backlog", _backlog),
    ("results", _results),
    ("commitment", _commitment),
    ("messages", _messages),
    ("audit", _audit),
    ("pacs", _pacs),
    ("backfill", _backfill),
    ("report", _report),
)
