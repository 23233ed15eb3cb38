"""What alarms need of the settings."""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from worker.alarms.change import Send
    from worker.alarms.limits import AlarmLimits
    from worker.channels.mail_server import MailServer
    from worker.queue.errands import Kind
    from worker.settings import Settings


def channels(settings: "Settings") -> "dict[Kind, Send]":
    """The configured channels beside the log, each with what delivers on it."""
    from worker.alarms import mail, webhook
    from worker.channels.signed_post import WebAddress
    from worker.queue.errands import Kind
    from worker.setting_values import webhook_key

    found: dict[Kind, Send] = {}
    if settings.mail_to:
        options = mail.MailOptions(
            server=mail_server(settings), sender=settings.mail_from, recipients=settings.mail_to, site=settings.site
        )
        found[Kind.MAIL] = partial(mail.send, options)
    if settings.webhook_url:
        address = WebAddress(url=settings.webhook_url, key=webhook_key(settings.webhook_secret.get_secret_value()))
        found[Kind.WEBHOOK] = partial(webhook.send, webhook.WebhookOptions(address=address, site=settings.site))
    return found


def mail_server(settings: "Settings") -> "MailServer":
    from worker.channels.mail_server import MailServer

    return MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
    )


def limits(settings: "Settings", since: "datetime") -> "AlarmLimits":
    """`since`: when this process began to look, by the database's clock."""
    import socket
    from datetime import time

    from worker.alarms.limits import AlarmLimits

    return AlarmLimits(
        backlog_seconds=settings.alarm_backlog_seconds,
        dead_letters=settings.alarm_dead_letters,
        spool=settings.spool_folder,
        spool_mib=max(settings.alarm_spool_mib, settings.spool_reserve_mib),  # below the reserve films are refused
        refusals=settings.alarm_refusals,
        quarantine_films=settings.alarm_quarantine_films,
        silent_films=settings.alarm_silent_films,
        report_hours=settings.alarm_report_hours,
        report_time=time.fromisoformat(settings.report_time) if settings.report_time else None,
        result_minutes=settings.alarm_result_minutes,
        not_received=settings.alarm_not_received_films,
        zone=settings.zone,
        since=since,
        host=socket.gethostname()[:64],
        certificate=settings.tls_certificate,
        certificate_days=settings.alarm_certificate_days,
        audit_minutes=settings.alarm_audit_minutes if settings.audit_to else None,
    )
