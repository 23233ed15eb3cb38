"""A film's result as a DICOM structured report: the object that other machines read.

Comprehensive 3D SR (PS3.3 A.35.13), TID 1500 by IHE's profile AI Results; CONFORMANCE has the table of what it says.
The same result gives the same bytes: UIDs are derived, times are the result's. Whatever is wrong with a film's header,
there is a report. Only who makes reports imports this: highdicom takes a while to load.
"""

from highdicom import ContentQualificationValues
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import Comprehensive3DSR
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from dicom_gateway.character_set import set_character_set
from dicom_gateway.copied import copy_patient_and_study, requests, series_uid, study_uid
from dicom_gateway.report_codes import SCHEME
from dicom_gateway.report_content import content_of
from dicom_gateway.result import FilmResult, SentBefore
from dicom_gateway.time_zone import in_zone_of
from dicom_gateway.uids import derived_uid
from dicom_gateway.values import one_uid

MAKER = "The xrayq authors"
SERIES_NUMBER = 9001
"""Behind a device's own series in a list."""
SERIES_DESCRIPTION = "xrayq result: research, not a medical device"
MOST_LO = 64
"""Characters of a value of VR LO."""


class _Report(Comprehensive3DSR):
    """Patient and study are copied by `copied.py` from any film; highdicom's copy stops at a faulty one."""

    def copy_patient_and_study_information(self, dataset: Dataset) -> None:
        pass


def structured_report(result: FilmResult) -> Dataset:
    """The report of a result, of a film that was not analysed too; Explicit VR Little Endian, with file meta.

    It raises on no film that has a SOP Class and a SOP Instance UID, as every received one has.
    """
    film, algorithm = result.film, result.algorithm
    at = in_zone_of(film, result.at)
    report = _Report(
        evidence=[_evidence(result)],
        content=content_of(result, at),
        series_instance_uid=derived_uid("sr series", *result.identity),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid("sr", *result.identity),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=algorithm.name[:MOST_LO],
        software_versions=algorithm.software_version[:MOST_LO],
        series_description=SERIES_DESCRIPTION,
        content_date=at.date(),
        content_time=at.time(),
        series_date=at.date(),
        series_time=at.time(),
        content_qualification=ContentQualificationValues.RESEARCH,
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name="xrayq", responsible_organization=MAKER)],
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=[_before(sent) for sent in result.replaces] or None,
        requested_procedures=requests(film, study_uid(film, result.film_digest)) or None,
    )
    report.InstanceCreationDate, report.InstanceCreationTime = report.ContentDate, report.ContentTime
    report.DeviceUID = algorithm.device_uid
    del report.ContributingEquipmentSequence  # says when highdicom ran, and its version
    copy_patient_and_study(film, report, otherwise=result.film_digest)
    if "ProcedureCodeSequence" in report:
        report["PerformedProcedureCodeSequence"].value = Sequence(report.ProcedureCodeSequence)
    set_character_set(report, film)
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return report


def _evidence(result: FilmResult) -> Dataset:
    """The film as highdicom wants it: its UIDs, and of patient and study what must not be missing."""
    film, known = result.film, Dataset()
    known.SOPClassUID, known.SOPInstanceUID = one_uid(film, "SOPClassUID"), one_uid(film, "SOPInstanceUID")
    known.StudyInstanceUID = study_uid(film, result.film_digest)
    known.SeriesInstanceUID = series_uid(film, result.film_digest)
    known.PatientID = known.PatientName = known.PatientBirthDate = known.PatientSex = ""
    known.AccessionNumber = known.StudyID = ""
    known.StudyDate = known.StudyTime = None
    return known


def _before(sent: SentBefore) -> Dataset:
    """An item of Predecessor Documents Sequence, as highdicom wants it."""
    before = Dataset()
    before.StudyInstanceUID, before.SeriesInstanceUID = sent.study_instance_uid, sent.series_instance_uid
    before.SOPClassUID, before.SOPInstanceUID = sent.sop_class_uid, sent.sop_instance_uid
    return before
