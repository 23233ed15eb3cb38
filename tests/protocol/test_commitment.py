"""Storage commitment and C-FIND: what a PACS says that it holds, on our association and on its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role

from dicom_gateway import find_object as finding
from dicom_gateway.asking import Asking, asking
from dicom_gateway.commitment import (
    MOST_BYTES,
    WELL_KNOWN_INSTANCE,
    CommitmentReport,
    ObjectReference,
    new_transaction_uid,
    request_commitment,
    take_report,
)
from dicom_gateway.contexts import STORAGE_COMMITMENT, STUDY_ROOT_FIND, VERIFICATION
from dicom_gateway.encode import derived_uid
from dicom_gateway.errors import PeerUnavailable, Rejected, ReportRefusal
from dicom_gateway.heard import Heard
from tests.pacs import Pacs, pacs
from tests.protocol.conftest import Node
from tests.protocol.raw import STORE_CONTEXT, Peer, command_set, contexts, dataset_bytes, pdata, pdv
from tests.services import free_port, wait_until

N_EVENT_REPORT_RQ, C_STORE_RQ = 0x0100, 0x0001


def held(name: str) -> Dataset:
    """An object as a PACS keeps it."""
    kept = Dataset()
    kept.SOPClassUID = uid.Comprehensive3DSRStorage
    kept.StudyInstanceUID, kept.SeriesInstanceUID = derived_uid("study", name), derived_uid("series", name)
    kept.SOPInstanceUID = derived_uid(name)
    return kept


def reference(kept: Dataset) -> ObjectReference:
    return ObjectReference(
        study_instance_uid=kept.StudyInstanceUID,
        series_instance_uid=kept.SeriesInstanceUID,
        sop_class_uid=kept.SOPClassUID,
        sop_instance_uid=kept.SOPInstanceUID,
    )


@contextmanager
def asked(found: Pacs, reports: list[CommitmentReport] | None = None, **options: Any) -> Iterator[Asking]:
    kept: list[CommitmentReport] = [] if reports is None else reports

    def report(heard: Heard) -> tuple[int, str]:
        return take_report(heard.command, heard.data, heard.syntax, kept.append)

    classes = (STORAGE_COMMITMENT, STUDY_ROOT_FIND)
    with asking(
        "127.0.0.1", found.port, classes, called_ae="PACS", calling_ae="XRAYQ", report=report, **options
    ) as peer:
        yield peer


@pytest.mark.parametrize("implicit_only", [False, True])
def test_a_report_on_the_same_association(implicit_only: bool) -> None:
    reports: list[CommitmentReport] = []
    with pacs(free_port(), commits="same", implicit_only=implicit_only) as found, asked(found, reports) as peer:
        found.kept = [held("one"), held("two")]
        found.lost = {derived_uid("two")}
        transaction = new_transaction_uid()
        objects = [reference(kept) for kept in found.kept]
        assert request_commitment(peer, transaction, objects, seconds=10) == 0
        peer.listen(10, lambda: bool(reports))
        assert reports == [
            CommitmentReport(
                transaction_uid=transaction,
                held=frozenset({derived_uid("one")}),
                failed={derived_uid("two"): 0x0112},
                sop_classes={kept.SOPInstanceUID: uid.Comprehensive3DSRStorage for kept in found.kept},
            )
        ]
        wait_until(lambda: found.reports == [0], 10, "our answer")
        assert not peer.takes(STUDY_ROOT_FIND)
    (request,) = found.asked_to_commit
    assert [item.ReferencedSOPClassUID for item in request.ReferencedSOPSequence] == [uid.Comprehensive3DSRStorage] * 2


def test_a_report_in_the_middle_of_a_query_is_taken() -> None:
    """The PACS sends it before it answers the C-FIND."""
    reports: list[CommitmentReport] = []
    one = held("one")
    with pacs(free_port(), commits="same", finds=True) as found, asked(found, reports) as peer:
        found.kept = [one]
        assert request_commitment(peer, new_transaction_uid(), [reference(one)], seconds=10) == 0
        wait_until(lambda: len(found.asked_to_commit) == 1, 10)
        assert finding.find_object(peer, reference(one), seconds=10).found
        peer.listen(10, lambda: bool(reports))
        assert len(reports) == 1


def test_a_peer_that_never_reports() -> None:
    with pacs(free_port(), commits="never") as found, asked(found) as peer:
        assert request_commitment(peer, new_transaction_uid(), [reference(held("one"))], seconds=10) == 0
        begun = time.monotonic()
        peer.listen(0.5, lambda: False)
        assert time.monotonic() - begun < 5
        assert not peer.over, "silence is no fault here"
        assert request_commitment(peer, new_transaction_uid(), [reference(held("one"))], seconds=10) == 0


def test_what_a_peer_answers_instead() -> None:
    with pacs(free_port(), commits="same", finds=True) as found, asked(found) as peer:
        found.action_status, found.find_status = 0x0213, 0xA700
        assert request_commitment(peer, new_transaction_uid(), [reference(held("one"))], seconds=10) == 0x0213
        answer = finding.find_object(peer, reference(held("one")), seconds=10)
        assert (answer.found, answer.status) == (False, 0xA700)


def test_found_and_not_found() -> None:
    here, gone = held("one"), held("two")
    with pacs(free_port(), finds=True) as found, asked(found) as peer:
        found.kept = [here]
        answers = [finding.find_object(peer, reference(wanted), seconds=10) for wanted in (here, gone, here)]
        assert [(answer.found, answer.status) for answer in answers] == [(True, 0), (False, 0), (True, 0)]
        assert not peer.takes(STORAGE_COMMITMENT)
    (first, *_) = found.asked_to_find
    assert first.QueryRetrieveLevel == "IMAGE"
    assert first.StudyInstanceUID == here.StudyInstanceUID


def test_a_peer_that_takes_neither_rejects_or_is_not_there() -> None:
    with pacs(free_port()) as found, asked(found) as peer:
        assert not peer.takes(STORAGE_COMMITMENT)
        assert not peer.takes(STUDY_ROOT_FIND)
    with pacs(free_port(), title="OTHER") as found, pytest.raises(Rejected, match="rejected_1_1_7"), asked(found):
        pass
    with pytest.raises(PeerUnavailable, match="no_connection"), asked(Pacs(port=free_port())):
        pass


def test_a_peer_that_goes_silent_or_away_ends_at_the_limit() -> None:
    with pacs(free_port(), finds=True) as found, asked(found) as peer:
        closes: list[Callable[[], None]] = []
        with asked(found, opened=closes.append) as other:
            closes[0]()
            assert finding.find_object(other, reference(held("one")), seconds=10).status is None
            assert other.over
        assert peer.hear(0.2) is None
        assert peer.over


@pytest.mark.parametrize("role", [True, False], ids=["with its role", "without"])
def test_a_report_on_an_association_of_the_pacs(start: Callable[..., Node], role: bool) -> None:
    reports: list[tuple[CommitmentReport, str]] = []
    node = start(committed=lambda *said: reports.append(said), reporting_aes=() if role else ("PACS",))
    with pacs(free_port(), commits="other") as found, asked(found) as peer:
        found.kept, found.reports_to, found.role = [held("one")], node.port, role
        transaction = new_transaction_uid()
        assert request_commitment(peer, transaction, [reference(held("one"))], seconds=10) == 0
        wait_until(lambda: found.reports == [0], 10, "our answer")
    one = derived_uid("one")
    classes = {one: uid.Comprehensive3DSRStorage}
    report = CommitmentReport(transaction_uid=transaction, held=frozenset({one}), failed={}, sop_classes=classes)
    assert reports == [(report, "PACS")]


def test_our_answer_to_the_proposed_role(start: Callable[..., Node]) -> None:
    node = start(committed=lambda *_: None)
    association = Pacs(port=0, reports_to=node.port).calls()
    (context,) = association.accepted_contexts
    assert (context.as_scp, context.as_scu) == (True, False)
    association.release()


def test_a_device_that_wants_our_commitment_has_its_context_refused(start: Callable[..., Node]) -> None:
    """Without role selection it is SCU (PS3.7 D.3.3.4). Known PACS alone are taken for what they should say."""
    node = start(committed=lambda *_: None, reporting_aes=("PACS",))
    for title, role, accepted in (("CR1", False, 0), ("PACS", False, 1), ("CR1", True, 1)):
        entity = AE(ae_title=title)
        proposed = [build_context(VERIFICATION), build_context(STORAGE_COMMITMENT)]
        roles = [build_role(STORAGE_COMMITMENT, scp_role=True)] if role else []
        association = entity.associate("127.0.0.1", node.port, contexts=proposed, ext_neg=roles)
        taken = [str(context.abstract_syntax) for context in association.accepted_contexts]
        association.release()
        assert taken == [VERIFICATION, STORAGE_COMMITMENT][: 1 + accepted], title


def said(transaction: str = "2.25.1", **changed: Any) -> Dataset:
    report, item = Dataset(), Dataset()
    report.TransactionUID = transaction
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = uid.Comprehensive3DSRStorage, "2.25.2"
    report.ReferencedSOPSequence = [item]
    for keyword, value in changed.items():
        setattr(report, keyword, value)
    return report


def report_command(event_type: int = 1, *, has_data: bool = True) -> bytes:
    command = Dataset()
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = STORAGE_COMMITMENT, WELL_KNOWN_INSTANCE
    command.CommandField, command.MessageID = N_EVENT_REPORT_RQ, 1
    command.CommandDataSetType = 1 if has_data else 0x0101
    command.EventTypeID = event_type
    from pynetdicom.dsutils import encode

    body = encode(command, True, True)
    assert body is not None
    return body


def answered(node: Node, command: bytes, data: bytes | None) -> Dataset:
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        peer.send(pdata(pdv(STORE_CONTEXT, command, is_command=True)))
        for place in range(0, len(data or b""), 16000):
            part = (data or b"")[place : place + 16000]
            last = place + 16000 >= len(data or b"")
            peer.send(pdata(pdv(STORE_CONTEXT, part, is_command=False, last=last)))
        answer = peer.response()
        assert peer.echo() == 0, "the association goes on"
        return answer


@pytest.mark.parametrize(
    ("command", "data", "status"),
    [
        (report_command(), dataset_bytes(said()), 0x0000),
        (report_command(7), dataset_bytes(said()), 0x0113),
        (report_command(), dataset_bytes(said(transaction="")), 0x0115),
        (report_command(), dataset_bytes(said(ReferencedSOPSequence=[])), 0x0115),
        (report_command(), dataset_bytes(said())[:-9], 0x0115),
        (report_command(has_data=False), None, 0x0115),
        (report_command(), b"\xff" * 100, 0x0115),
        (report_command(), bytes(MOST_BYTES + 2), 0x0213),
    ],
    ids=["good", "other event", "no transaction", "no objects", "cut short", "no data set", "no data", "too large"],
)
def test_the_status_of_a_report(start: Callable[..., Node], command: bytes, data: bytes | None, status: int) -> None:
    reports: list[tuple[CommitmentReport, str]] = []
    node = start(committed=lambda *said: reports.append(said), reporting_aes=("RAW",))
    answer = answered(node, command, data)
    assert (answer.Status, answer.CommandField) == (status, 0x8100)
    assert answer.AffectedSOPInstanceUID == WELL_KNOWN_INSTANCE
    assert len(reports) == (status == 0)


def test_what_the_database_does_not_take_is_to_be_sent_again(start: Callable[..., Node]) -> None:
    def away(*_: object) -> None:
        raise ReportRefusal

    node = start(committed=away, reporting_aes=("RAW",))
    assert answered(node, report_command(), dataset_bytes(said())).Status == 0x0110


def test_a_gateway_without_results_takes_no_reports(node: Node) -> None:
    with Peer(node.port) as peer:
        peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
        peer.send(pdata(pdv(STORE_CONTEXT, report_command(), is_command=True)))
        assert peer.is_closed()


def test_who_wants_our_commitment_is_told_no(start: Callable[..., Node]) -> None:
    """A gateway that commits to nothing serves no N-ACTION; and no C-STORE comes in this way."""
    node = start(committed=lambda *_: None, reporting_aes=("RAW",))
    for field in (0x0130, C_STORE_RQ):
        with Peer(node.port) as peer:
            peer.associate(context_list=contexts(sop_class=STORAGE_COMMITMENT))
            command = command_set(field, sop_class=STORAGE_COMMITMENT, instance="1.2.3", has_data=True)
            peer.send(pdata(pdv(STORE_CONTEXT, command, is_command=True)))
            peer.send(pdata(pdv(STORE_CONTEXT, dataset_bytes(said()), is_command=False)))
            assert peer.response().Status == (0x0211 if field == 0x0130 else 0xA900)
    assert node.accepted == []
