"""What became of each instance of a request by web, as the Store Instances Response Module (PS3.18 Annex I)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.errors import Refusal


@dataclass(frozen=True, kw_only=True)
class InstanceAnswer:
    sop_class_uid: str
    sop_instance_uid: str
    """Both as the file's meta information says; "" where that is not known."""
    refusal: Refusal | None
    """None: it is durable, and its row committed."""


def store_response(answers: Sequence[InstanceAnswer]) -> Dataset:
    """The module. Retrieve URLs are empty: nothing can be fetched from here.

    A failure whose instance is not known stands in Other Failures Sequence (0008,119A).
    """
    response = Dataset()
    response.RetrieveURL = ""
    failures = [answer for answer in answers if answer.refusal]
    sequences = {
        "ReferencedSOPSequence": [_reference(answer) for answer in answers if answer.refusal is None],
        "FailedSOPSequence": [_failure(answer) for answer in failures if _is_named(answer)],
        "OtherFailuresSequence": [_failure(answer) for answer in failures if not _is_named(answer)],
    }
    for keyword, items in sequences.items():
        if items:
            setattr(response, keyword, items)
    return response


def _is_named(answer: InstanceAnswer) -> bool:
    return bool(answer.sop_class_uid and answer.sop_instance_uid)


def _reference(answer: InstanceAnswer) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = answer.sop_class_uid
    item.ReferencedSOPInstanceUID = answer.sop_instance_uid
    item.RetrieveURL = ""
    return item


def _failure(answer: InstanceAnswer) -> Dataset:
    item = Dataset()
    if _is_named(answer):
        item.ReferencedSOPClassUID = answer.sop_class_uid
        item.ReferencedSOPInstanceUID = answer.sop_instance_uid
    assert answer.refusal
    item.FailureReason = answer.refusal.status
    return item
