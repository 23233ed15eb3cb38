"""What sending results needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from dicom_gateway.spool import Spool
    from worker.bundles.networks import FindBundle
    from worker.bundles.roles import PlacedBundle
    from worker.reporting.adapters.adapter import Adapter, SendOptions
    from worker.reporting.couriers import Couriers
    from worker.reporting.destinations import Destination, Routes
    from worker.reporting.hl7.message import MessageOptions
    from worker.reporting.new_results import ResultErrands
    from worker.reporting.objects import Make
    from worker.reporting.pictures import Pictures
    from worker.reporting.taken_out import TakeBack
    from worker.reporting.telling import Telling
    from worker.settings import Settings


def routes(settings: "Settings") -> "Routes":
    """Where results go, and when flags are told."""
    from worker.reporting.destinations import OfBackfills, routes_of

    return routes_of(settings.results_to, telling(settings), OfBackfills(settings.backfill_results))


def telling(settings: "Settings") -> "Telling":
    from worker.reporting.telling import QuietHours, Telling
    from worker.setting_values import begin_and_end

    quiet = None
    if settings.quiet_hours:
        begin, end = begin_and_end(settings.quiet_hours)
        quiet = QuietHours(begin=begin, end=end, zone=settings.zone)
    return Telling(flags=frozenset(settings.told_flags), urgent=frozenset(settings.urgent), quiet=quiet)


def message_options(settings: "Settings") -> "MessageOptions":
    """Raises ConfigurationError where the template cannot be used."""
    from worker.reporting.hl7.message import MessageOptions
    from worker.reporting.hl7.template import read_template

    return MessageOptions(
        template=read_template(settings.hl7_template),
        character_set=settings.hl7_character_set,
        site=settings.site,
        urgent=frozenset(settings.urgent),
    )


def result_errands(settings: "Settings") -> "ResultErrands | None":
    """What writes results for sending; None where they go nowhere."""
    from worker.reporting.new_results import ResultErrands

    if not settings.results_to:
        return None
    return ResultErrands(routes(settings), not_analysed=settings.results_not_analysed)


def take_back(settings: "Settings", default: "PlacedBundle | None") -> "TakeBack":
    """What takes back the result of a film whose correction a person takes out."""
    from worker.reporting.taken_out import TakeBack

    return TakeBack(routes(settings), not_analysed=settings.results_not_analysed, default=default)


def couriers(settings: "Settings", database: "Engine", spool: "Spool") -> "Couriers":
    """What sends them. Without destinations only what waits from before is looked after.

    Raises ConfigurationError where the template of HL7 messages, or a certificate, cannot be used.
    """
    from worker.bundles.roles import open_by_digest
    from worker.processes.tls_options import tls_of_results
    from worker.reporting.adapters.adapter import SendOptions
    from worker.reporting.couriers import Couriers
    from worker.reporting.objects import maker
    from worker.reporting.send import ResultDelivery

    options = SendOptions(
        calling_ae=settings.ae_title,
        hours=settings.results_hours,
        confirm=settings.results_confirm == "auto",
        tls=tls_of_results(settings),
        zone=settings.zone,
        queries_on_record=bool(settings.audit_to),
    )
    drawn = pictures(settings, lambda digest: open_by_digest(database, digest, settings.bundle))
    objects = maker(drawn if settings.results_picture else None)
    delivery = ResultDelivery(
        database=database, spool=spool, adapter_of=adapters(settings, objects, options), options=options
    )
    return Couriers(delivery, routes(settings).every, ended=drawn.close)


def adapters(settings: "Settings", objects: "Make", options: "SendOptions") -> "Callable[[Destination], Adapter]":
    """What sends to a destination of each kind."""
    from worker.channels.signed_post import WebAddress
    from worker.processes.alarm_options import mail_server
    from worker.reporting.adapters.flag_mail import FlagMailAdapter
    from worker.reporting.adapters.flag_message import FlagOptions
    from worker.reporting.adapters.flag_webhook import FlagWebhookAdapter
    from worker.reporting.adapters.hl7 import Hl7Adapter
    from worker.reporting.adapters.store import StoreAdapter
    from worker.reporting.destinations import Hl7Destination, MailDestination, StoreDestination, WebhookDestination
    from worker.setting_values import webhook_key

    message, flags = (
        message_options(settings),
        FlagOptions(telling=telling(settings), site=settings.site, link=settings.link),
    )

    def adapter_of(destination: "Destination") -> "Adapter":
        match destination:
            case StoreDestination():
                return StoreAdapter(destination=destination, objects=objects, options=options)
            case Hl7Destination():
                return Hl7Adapter(destination=destination, message=message, options=options)
            case WebhookDestination():
                key = webhook_key(settings.webhook_secret.get_secret_value())
                address = WebAddress(url=destination.url, key=key)
                return FlagWebhookAdapter(destination=destination, address=address, flags=flags)
            case MailDestination():
                return FlagMailAdapter(
                    destination=destination,
                    server=mail_server(settings),
                    sender=settings.mail_from,
                    flags=flags,
                    options=options,
                )
        raise AssertionError(destination.name)

    return adapter_of


def pictures(settings: "Settings", find_bundle: "FindBundle") -> "Pictures":
    """What draws them, with the limits of the settings."""
    from dicom_gateway.spool import MEBIBYTE
    from worker.reporting.pictures import Pictures

    return Pictures(
        find_bundle,
        memory_bytes=settings.decode_memory_mib * MEBIBYTE,
        max_pixels=int(settings.max_megapixels * 1e6),
        seconds=settings.decode_timeout,
    )
