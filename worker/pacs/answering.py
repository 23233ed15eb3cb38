"""Does each PACS take an association of ours for C-FIND? Nothing is asked over it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from worker.errors import NotAsked
from worker.pacs.listing import opened
from worker.pacs.options import AskedPacs, AskOptions
from worker.pacs.words import fault_in_words

SECONDS = 5.0
"""For each PACS, but for the look-up of its name."""


def faults(options: AskOptions) -> list[str]:
    """What is wrong with each PACS that takes none, one line each. All are called at the same time."""
    with ThreadPoolExecutor(max_workers=len(options.pacs)) as threads:
        found = threads.map(lambda pacs: _fault(pacs, options), options.pacs)
        return [f"{pacs.called_ae}: {fault}" for pacs, fault in zip(options.pacs, found, strict=True) if fault]


def _fault(pacs: AskedPacs, options: AskOptions) -> str:
    """ "" where it is well."""
    try:
        with opened(pacs, replace(options, answer_seconds=SECONDS), until=time.monotonic() + SECONDS):
            return ""
    except NotAsked as failed:
        return fault_in_words(str(failed))
