"""A PACS for results: a Storage SCP that keeps what it is sent, and answers as a test wants it to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
from pynetdicom import AE, evt

TAKEN = (Comprehensive3DSRStorage, MultiFrameTrueColorSecondaryCaptureImageStorage)


@dataclass(kw_only=True)
class Pacs:
    """What it holds and how it answers."""

    port: int
    title: str = "PACS"
    kept: list[Dataset] = field(default_factory=list)
    """Every object that came, in order, a second sending too."""
    statuses: list[int] = field(default_factory=list)
    """Of the next C-STOREs, first one first; then 0."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by the first C-STORE, before it is answered."""
    callers: list[str] = field(default_factory=list)
    """Calling AE title of each association."""
    silent: threading.Event | None = None
    """Until it is set no C-STORE is answered."""

    @property
    def uids(self) -> list[str]:
        return [str(kept.SOPInstanceUID) for kept in self.kept]

    def _store(self, event: evt.Event) -> int:
        self.asked.set()
        if self.silent:
            self.silent.wait(60)
        status = self.statuses.pop(0) if self.statuses else 0
        if status in (0, 0xB000, 0x0111):
            kept = event.dataset
            kept.file_meta = event.file_meta
            self.kept.append(kept)
        return status


@contextmanager
def pacs(
    port: int, *, title: str = "PACS", silent: threading.Event | None = None, implicit_only: bool = False
) -> Iterator[Pacs]:
    """It listens until the block ends."""
    found = Pacs(port=port, title=title, silent=silent)
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    syntaxes = [ImplicitVRLittleEndian] if implicit_only else [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    for sop_class in TAKEN:
        entity.add_supported_context(sop_class, syntaxes)
    server = entity.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, found._store),
            (evt.EVT_ACCEPTED, lambda event: found.callers.append(event.assoc.requestor.ae_title)),
        ],
    )
    try:
        yield found
    finally:
        if silent:
            silent.set()
        server.shutdown()
