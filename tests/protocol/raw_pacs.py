"""A PACS that can do everything wrong when it is asked for films: it says what its script says, in bytes."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import A_ASSOCIATE_RQ

from dicom_gateway.dimse import command_set, number, uid_value, values
from dicom_gateway.items import role
from tests.protocol.raw import APPLICATION, DX, P_DATA, Peer, item, pdata, pdv
from tests.services import free_port

C_CANCEL_RQ = 0x0FFF
COUNTS = {"remaining": 0x1020, "completed": 0x1021, "failed": 0x1022, "warning": 0x1023}


class Talk(Peer):
    """One association, accepted with the first transfer syntax of each context."""

    def __init__(self, connection: socket.socket, *, scp: bool) -> None:
        """`scp`: what it says to the role of SCP of a class."""
        connection.settimeout(20)
        self.socket = connection
        self.command = Dataset()
        """The last request."""
        asked = A_ASSOCIATE_RQ()
        pdu = self.receive()
        assert pdu is not None
        asked.decode(struct.pack(">BxL", pdu.kind, len(pdu.body)) + pdu.body)
        self.contexts = {
            context.context_id: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in asked.presentation_context
        }
        results = b"".join(
            item(0x21, struct.pack(">BxBx", context_id, 0) + item(0x40, syntax.encode()))
            for context_id, (_, syntax) in self.contexts.items()
        )
        roles = b"".join(
            item(0x54, role(str(one.sop_class_uid), scu=False, scp=scp))
            for one in asked.user_information.user_data
            if one.item_type == 0x54
        )
        user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3") + roles)
        body = struct.pack(">H66x", 1) + APPLICATION + results + user
        self.send(struct.pack(">BxL", 0x02, len(body)) + body)

    def question(self) -> Dataset:
        """The identifier of the next request."""
        self.command, data = self._message()
        return decode(BytesIO(data), False, True)

    def is_cancelled(self) -> bool:
        """Reads the next message: whether it cancels the last request."""
        said, _ = self._message()
        return bool(said.CommandField == C_CANCEL_RQ and said.MessageIDBeingRespondedTo == self.command.MessageID)

    def answer(self, status: int, named: list[str] | None = None, message_id: int = 0, **counts: int) -> None:
        """A response to the last request.

        Args:
            named: Failed SOP Instance UID List.
            message_id: as if it answered that one.
            counts: keys of COUNTS.
        """
        self.send(*self.response_to(status, named, message_id, counts))

    def response_to(
        self, status: int, named: list[str] | None, message_id: int, counts: Mapping[str, int]
    ) -> Iterator[bytes]:
        context_id = next(key for key, (name, _) in self.contexts.items() if name == self.command.AffectedSOPClassUID)
        elements = (
            (0x0002, uid_value(self.command.AffectedSOPClassUID)),
            (0x0100, number(self.command.CommandField | 0x8000)),
            (0x0120, number(message_id or self.command.MessageID)),
            (0x0800, number(0x0101 if named is None else 1)),
            (0x0900, number(status)),
            *((COUNTS[kind], number(value)) for kind, value in counts.items()),
        )
        yield pdata(pdv(context_id, command_set(elements), is_command=True))
        if named is not None:
            said = Dataset()
            said.FailedSOPInstanceUIDList = named
            encoded = encode(said, False, True)
            assert encoded is not None
            yield pdata(pdv(context_id, encoded, is_command=False))

    def store(self, dataset: bytes, instance: str, *, whole: bool = True, sop_class: str = DX) -> None:
        """A C-STORE-RQ, in fragments of 16 KB."""
        self.begin(instance, sop_class=sop_class)
        for start in range(0, len(dataset), 16000):
            self.go_on(dataset[start : start + 16000], last=whole and start + 16000 >= len(dataset))

    def begin(self, instance: str, *, sop_class: str = DX) -> None:
        """Its command."""
        self._storage = next(key for key, (name, _) in self.contexts.items() if name == sop_class)
        elements = (
            (0x0002, uid_value(sop_class)),
            (0x0100, number(0x0001)),
            (0x0110, number(7)),
            (0x0700, number(0)),
            (0x0800, number(1)),
            (0x1000, uid_value(instance)),
        )
        self.send(pdata(pdv(self._storage, command_set(elements), is_command=True)))

    def go_on(self, fragment: bytes, *, last: bool) -> None:
        self.send(pdata(pdv(self._storage, fragment, is_command=False, last=last)))

    def stored(self) -> int:
        """The status of the C-STORE-RSP."""
        said, _ = self._message()
        assert (said.CommandField, said.MessageIDBeingRespondedTo) == (0x8001, 7)
        return int(said.Status)

    def _message(self) -> tuple[Dataset, bytes]:
        """The next one: its command set and its data set."""
        command, data = b"", b""
        said: Dataset | None = None
        while True:
            pdu = self.receive()
            assert pdu is not None, "closed instead of a message"
            assert pdu.kind == P_DATA, pdu.kind
            for _, control, fragment in values(memoryview(pdu.body)):
                if control & 1:
                    command += fragment
                else:
                    data += fragment
                if control == 3:
                    said = decode(BytesIO(command), True, True)
                if said and (control == 2 or said.CommandDataSetType == 0x0101):
                    return said, data


class RawPacs:
    def __init__(self, listener: socket.socket, script: Callable[[Talk], None], *, scp: bool) -> None:
        self.port = int(listener.getsockname()[1])
        self.failed: list[Exception] = []
        """What a script raised. An association that we end is none."""
        self._listener, self._script, self._scp = listener, script, scp

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        try:
            talk = Talk(connection, scp=self._scp)
            self._script(talk)
            if (last := talk.receive()) and last.kind == 0x05:
                talk.send(struct.pack(">BxLL", 0x06, 4, 0))
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.failed.append(error)


@contextmanager
def raw_pacs(script: Callable[[Talk], None], *, scp: bool = True) -> Iterator[RawPacs]:
    """One association after the other; the script raises nothing in the end.

    Args:
        script: after it a release is answered.
        scp: whether it lets us be SCP.
    """
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        found = RawPacs(listener, script, scp=scp)
        thread = threading.Thread(target=found.serve, daemon=True)
        thread.start()
        yield found
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    assert found.failed == []
