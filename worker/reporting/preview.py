"""The HL7 message of a result as it would be sent, so that a site can try its template. Nothing is sent or written."""

from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Engine

from dicom_gateway.spool import Spool
from worker.bundles.roles import PlacedBundle
from worker.db.session import database_time, reading
from worker.errors import Undelivered, WrongState
from worker.reporting import faults, order
from worker.reporting.film_result import facts, film_of, film_result
from worker.reporting.hl7.message import MessageOptions, control_id, oru
from worker.reporting.new_results import software_version
from worker.reporting.resend import bundle_of_result
from worker.reporting.waiting import WaitingResult


@dataclass(frozen=True, kw_only=True)
class Previewed:
    destination: str
    control_id: str
    content: bytes


def preview(
    engine: Engine,
    spool: Spool,
    instance_id: int,
    options: MessageOptions,
    *,
    destination: str,
    zone: tzinfo,
    default: PlacedBundle | None,
) -> Previewed:
    """
    Args:
        destination: its name: the message control ID follows from it.
        default: the bundle that is live while none is activated.

    Raises:
        NotFound: no such instance; or its bundle is no more in service.
        WrongState: it has no result, or its film is not in the spool any more.
    """
    with reading(engine) as connection:
        bundle = bundle_of_result(connection, instance_id, default)
        waits = WaitingResult(
            instance=instance_id,
            bundle=bundle,
            software_version=software_version(),
            destination=destination,
            since=database_time(connection),
        )
        found, corrects = facts(connection, waits), order.corrects(connection, waits)
    try:
        result = film_result(found, film_of(spool, found.film_digest), waits, zone)
    except Undelivered as failure:
        raise WrongState(f"instance {instance_id}: {faults.in_words(str(failure))}") from None
    content = oru(result, options, destination=destination, corrects=corrects)
    return Previewed(destination=destination, control_id=control_id(content), content=content)
