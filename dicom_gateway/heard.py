"""What a peer says on an association that we opened: messages, put together from fragments (PS3.8 Annex E).

A message is kept in memory, up to LARGEST_MESSAGE. A film goes into the spool as it comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from dicom_gateway.dimse import C_STORE_RQ, NO_DATA_SET, decode_command
from dicom_gateway.errors import PeerGone
from dicom_gateway.store import Store
from dicom_gateway.storing import Storing

LARGEST_MESSAGE = 4 << 20
"""Bytes of a message that a peer sends us; a report on 1,000 objects has 130 KB."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A message of the peer."""

    context_id: int
    command: Dataset
    data: bytes
    """Its data set, b"" without one, and of a film."""
    syntax: str
    """Transfer syntax of the data set."""
    store: Store | None = None
    """A film, to be kept or discarded."""


@dataclass(kw_only=True)
class _Arriving:
    """A message as its fragments come."""

    command_set: bytearray = field(default_factory=bytearray)
    command: Dataset | None = None
    data: bytearray = field(default_factory=bytearray)
    store: Store | None = None


class Hearing:
    """The messages of one association."""

    def __init__(self, contexts: Mapping[int, tuple[str, str]], storing: Storing | None) -> None:
        """
        Args:
            contexts: presentation context ID -> SOP Class and transfer syntax.
            storing: begins a film where a C-STORE comes; None: it is a message like others.
        """
        self._contexts = contexts
        self._storing = storing
        self._arriving = _Arriving()

    @property
    def in_film(self) -> bool:
        """Its last byte is not here yet."""
        return self._arriving.store is not None

    def fragment(self, context_id: int, control: int, fragment: memoryview) -> Heard | None:
        """The message, where it is whole with this. Raises PeerGone, Abort where the fragment fits nothing.

        Args:
            control: bit 0 is set in commands, bit 1 in the last one.
        """
        arriving, is_command, last = self._arriving, bool(control & 1), bool(control & 2)
        held = len(arriving.command_set) + len(arriving.data) + len(fragment)
        if context_id not in self._contexts or held > LARGEST_MESSAGE or is_command == (arriving.command is not None):
            raise PeerGone
        if arriving.store:
            arriving.store.write(fragment)
        else:
            (arriving.command_set if is_command else arriving.data).extend(fragment)
        if not last or (is_command and self._begin(arriving, context_id)):
            return None
        assert arriving.command is not None
        self._arriving = _Arriving()
        return Heard(
            context_id=context_id,
            command=arriving.command,
            data=bytes(arriving.data),
            syntax=self._contexts[context_id][1],
            store=arriving.store,
        )

    def leave(self) -> None:
        """Nothing is kept of a film that is not whole."""
        if self._arriving.store:
            self._arriving.store.discard()

    def _begin(self, arriving: _Arriving, context_id: int) -> bool:
        """The command is whole; whether a data set follows."""
        command = arriving.command = decode_command(bytes(arriving.command_set))
        has_data = bool(command.get("CommandDataSetType", NO_DATA_SET) != NO_DATA_SET)
        if self._storing and command.CommandField == C_STORE_RQ:
            arriving.store = self._storing.begin(command, self._contexts[context_id], has_data=has_data)
        return has_data
