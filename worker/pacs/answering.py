"""Does a PACS answer, and does it let us query? Nothing is asked of it but C-ECHO."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from dicom_gateway.errors import BadCertificate, PeerUnavailable
from dicom_gateway.scu import echo
from dicom_gateway.tls import client_context
from worker.errors import NotAsked
from worker.pacs.listing import opened
from worker.pacs.options import AskedPacs, AskOptions
from worker.pacs.words import fault_in_words

SECONDS = 5.0
"""For each of the two associations with a PACS."""


def silent(options: AskOptions) -> list[str]:
    """What is wrong with each PACS that does not answer, one line each. All are called at the same time."""
    with ThreadPoolExecutor(max_workers=len(options.pacs)) as threads:
        faults = threads.map(lambda pacs: _fault(pacs, options), options.pacs)
        return [f"{pacs.called_ae}: {fault}" for pacs, fault in zip(options.pacs, faults, strict=True) if fault]


def _fault(pacs: AskedPacs, options: AskOptions) -> str:
    """Two associations: one for C-FIND, over which nothing is asked, and one for C-ECHO (PS3.4 A). "" where both are
    well."""
    try:
        with opened(pacs, replace(options, answer_seconds=SECONDS), until=time.monotonic() + SECONDS):
            pass
        tls = client_context(options.tls) if pacs.tls and options.tls else None
        echo(
            pacs.host,
            pacs.port,
            called_ae=pacs.called_ae,
            calling_ae=options.calling_ae,
            timeout=SECONDS,
            tls=tls,
        )
    except NotAsked as failed:
        return fault_in_words(str(failed))
    except (PeerUnavailable, BadCertificate) as away:
        return str(away)
    return ""
