"""What asking PACSs needs of the settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.pacs.options import AskOptions
    from worker.settings import Settings


def ask_options(settings: "Settings") -> "AskOptions | None":
    """None where no PACS is asked."""
    from worker.pacs.options import AskOptions, asked_pacs
    from worker.processes.tls_options import client_options

    if not settings.ask_pacs:
        return None
    pacs = asked_pacs(settings.ask_pacs)
    return AskOptions(
        pacs=pacs,
        calling_ae=settings.ae_title,
        zone=settings.zone,
        tls=client_options(settings) if any(one.tls for one in pacs) else None,
        modalities=settings.modalities,
        body_parts=settings.body_parts,
        words=settings.ask_words,
        queries_on_record=bool(settings.audit_to),
        settled_minutes=settings.ask_settled_minutes,
        total_seconds=settings.ask_seconds,
    )
