"""What sending results needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from dicom_gateway.spool import Spool
    from worker.reporting.adapters.adapter import Adapter
    from worker.reporting.couriers import Couriers
    from worker.reporting.destinations import Destination
    from worker.reporting.waiting import ResultErrands
    from worker.settings import Settings


def result_errands(settings: "Settings") -> "ResultErrands | None":
    """What writes results for sending; None where they go nowhere."""
    from worker.reporting.destinations import routes_of
    from worker.reporting.waiting import ResultErrands

    if not settings.results_to:
        return None
    return ResultErrands(routes_of(settings.results_to), not_analysed=settings.results_not_analysed)


def couriers(settings: "Settings", database: "Engine", spool: "Spool") -> "Couriers":
    """What sends them. Without destinations only what waits from before is looked after."""
    from dicom_gateway.spool import MEBIBYTE
    from worker.bundles.roles import open_by_digest
    from worker.reporting.adapters.adapter import SendOptions
    from worker.reporting.adapters.store import StoreAdapter
    from worker.reporting.couriers import Couriers
    from worker.reporting.destinations import StoreDestination, routes_of
    from worker.reporting.objects import maker
    from worker.reporting.pictures import Pictures
    from worker.reporting.send import ResultDelivery

    options = SendOptions(calling_ae=settings.ae_title, hours=settings.results_hours, zone=settings.zone)
    pictures = Pictures(
        lambda digest: open_by_digest(database, digest, settings.bundle),
        memory_bytes=settings.decode_memory_mib * MEBIBYTE,
        max_pixels=int(settings.max_megapixels * 1e6),
        seconds=settings.decode_timeout,
    )
    objects = maker(pictures if settings.results_picture else None)

    def adapter_of(destination: "Destination") -> "Adapter":
        assert isinstance(destination, StoreDestination)
        return StoreAdapter(destination=destination, objects=objects, options=options)

    delivery = ResultDelivery(database=database, spool=spool, adapter_of=adapter_of, options=options)
    return Couriers(delivery, routes_of(settings.results_to).every, ended=pictures.close)
