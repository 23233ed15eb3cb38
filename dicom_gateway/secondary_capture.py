"""A film's result as a picture: the object that every viewer shows.

Multi-frame True Color Secondary Capture (PS3.3 A.8.5): the film with a banner, and where there is a map, the film with
it. The same result and pixels give the same bytes: UIDs are derived, times are the result's.

Uncompressed, Explicit VR Little Endian: what every archive takes and every viewer shows without a decoder. Lossy JPEG
would blur letters; RLE saves a fifth, JPEG 2000 seven eighths (measured), and not every viewer shows it in colour. The
film is made small instead.

Modality is OT. In the SC Equipment Module (PS3.3 C.8.6.1) it is the source of the image, and optional. The film's own
would put the picture among the films of a hanging protocol, and let a rule that sends DX or CR to us send it back.

No Pixel Spacing: nobody shall measure on a picture that was made smaller.
"""

from pydicom import config, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR

from dicom_gateway.capture_frames import DrawnMap, frames_of
from dicom_gateway.capture_words import outcome
from dicom_gateway.character_set import set_character_set
from dicom_gateway.copied import copy_patient_and_study, series_uid
from dicom_gateway.picture import Picture
from dicom_gateway.result import Algorithm, FilmResult
from dicom_gateway.time_zone import in_zone_of
from dicom_gateway.uids import derived_uid
from dicom_gateway.values import numbers, one_uid, text, texts

MAKER = "The xrayq authors"
SERIES_NUMBER = 9002
"""Behind a device's own series in a list, and behind that of the structured report."""
SERIES_DESCRIPTION = "xrayq picture: research, not a medical device"
MOST_LO, MOST_LT = 64, 10240
"""Characters of a value (PS3.5 6.2)."""
EMPTY_ELSE = ("Manufacturer", "PatientOrientation")
"""Type 2 and 2C: empty where the film has none."""
OF_THE_FILM = ("Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName", "BodyPartExamined")
"""General Equipment is what made the image that was captured (PS3.3 C.8.6.1)."""
UNPAIRED = ("CHEST", "ABDOMEN", "HEAD", "NECK", "SKULL", "PELVIS", "CSPINE", "TSPINE", "LSPINE", "WHOLEBODY")
"""Laterality is 2C (PS3.3 C.7.3.1): absent for these, else the film's or empty."""
TIMES = ("InstanceCreation", "Series", "Content")


def secondary_capture(result: FilmResult, picture: Picture, drawn: DrawnMap | None = None) -> Dataset:
    """The picture of a result, with file meta. It raises on no film that has a SOP Class and a SOP Instance UID.

    Args:
        picture: uint8 [rows, columns], the film as displayed, from `picture_of`.
        drawn: the same picture with a map over it.
    """
    film, at = result.film, in_zone_of(result.film, result.at)
    frames = frames_of(result, picture, drawn, at).pixels
    capture = Dataset()
    copy_patient_and_study(film, capture, otherwise=result.film_digest)
    _copy_equipment(film, capture)
    capture.SOPClassUID = uid.MultiFrameTrueColorSecondaryCaptureImageStorage
    capture.SOPInstanceUID = derived_uid("sc", *result.identity)
    capture.SeriesInstanceUID = derived_uid("sc series", *result.identity)
    capture.Modality, capture.SeriesNumber, capture.InstanceNumber = "OT", SERIES_NUMBER, 1
    capture.SeriesDescription = SERIES_DESCRIPTION
    capture.ImageType = ["DERIVED", "SECONDARY"]
    _put_software(capture, result.algorithm)
    for name in TIMES:
        setattr(capture, f"{name}Date", f"{at:%Y%m%d}")
        setattr(capture, f"{name}Time", f"{at:%H%M%S.%f}")
    capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture = capture.ContentDate, capture.ContentTime
    # A name that is written in the film is written in its picture, too; we write none.
    capture.BurnedInAnnotation = "YES" if text(film, "BurnedInAnnotation").upper() == "YES" else "NO"
    capture.ImageComments = "\n".join(line.text for line in outcome(result))[:MOST_LT]
    capture.DerivationDescription = _derivation(picture, drawn)
    _refer(capture, result)
    _put_pixels(capture, frames)
    set_character_set(capture, film)
    capture.file_meta = FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return capture


def _copy_equipment(film: Dataset, capture: Dataset) -> None:
    """With the body part, by which archives search, and what is left and right in the picture."""
    asked = (*EMPTY_ELSE, *(("Laterality",) if text(film, "BodyPartExamined") not in UNPAIRED else ()))
    for keyword in dict.fromkeys((*OF_THE_FILM, *asked)):
        found = texts(film, keyword)[: 2 if keyword == "PatientOrientation" else 1]
        tag = tag_for_keyword(keyword)
        assert tag is not None
        if any(found) or keyword in asked:
            vr, value = dictionary_VR(tag), "\\".join(found)
            if vr not in CUSTOMIZABLE_CHARSET_VR:  # a code is of ASCII alone
                value = value.encode("ascii", "replace").decode("ascii")
            capture.add(DataElement(tag, vr, value, validation_mode=config.IGNORE))
    if text(film, "LossyImageCompression") == "01":  # once lossy, always lossy (PS3.3 C.7.6.1.1.5)
        capture.LossyImageCompression = "01"
        ratios = [ratio for ratio in numbers(film, "LossyImageCompressionRatio") if ratio is not None]
        if ratios:
            capture.LossyImageCompressionRatio = [f"{ratio:.6g}" for ratio in ratios]


def _put_software(capture: Dataset, algorithm: Algorithm) -> None:
    """SC Equipment Module (PS3.3 C.8.6.1): what made the picture."""
    capture.ConversionType = "WSD"
    capture.SecondaryCaptureDeviceManufacturer = MAKER
    capture.SecondaryCaptureDeviceManufacturerModelName = f"{algorithm.name} {algorithm.version}"[:MOST_LO]
    capture.SecondaryCaptureDeviceSoftwareVersions = algorithm.software_version[:MOST_LO]


def _derivation(picture: Picture, drawn: DrawnMap | None) -> str:
    """At most 1,024 characters (ST)."""
    rows, columns = picture.shape
    said = f"Film as displayed (PS3.3 C.11), {columns} x {rows} pixels, between a banner and a legend."
    return f"{said} Frame 2: class activation map of {drawn.finding} over it."[:1024] if drawn else said


def _refer(capture: Dataset, result: FilmResult) -> None:
    """To the film (PS3.3 C.7.6.1, C.12.2). It is smaller and beside words: no place is where it was."""
    source, purpose, referenced, series = (Dataset() for _ in range(4))
    for item in (source, referenced):
        item.ReferencedSOPClassUID = one_uid(result.film, "SOPClassUID")
        item.ReferencedSOPInstanceUID = one_uid(result.film, "SOPInstanceUID")
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    source.SpatialLocationsPreserved = "NO"
    source.PurposeOfReferenceCodeSequence = Sequence([purpose])
    series.SeriesInstanceUID = series_uid(result.film, result.film_digest)
    series.ReferencedInstanceSequence = Sequence([referenced])
    capture.SourceImageSequence = Sequence([source])
    capture.ReferencedSeriesSequence = Sequence([series])


def _put_pixels(capture: Dataset, frames: Picture) -> None:
    """Image Pixel (PS3.3 C.7.6.3), Multi-frame (C.7.6.6) and SC Multi-frame Vector (C.8.6.4)."""
    capture.NumberOfFrames, capture.Rows, capture.Columns, capture.SamplesPerPixel = frames.shape
    capture.PhotometricInterpretation, capture.PlanarConfiguration, capture.PixelRepresentation = "RGB", 0, 0
    capture.BitsAllocated, capture.BitsStored, capture.HighBit = 8, 8, 7
    if len(frames) > 1:
        capture.PageNumberVector, capture.FrameLabelVector = [1, 2], ["FILM", "MAP"]
        capture.FrameIncrementPointer = [tag_for_keyword(name) for name in ("PageNumberVector", "FrameLabelVector")]
    capture.PixelData = frames.tobytes() + b"\0" * (frames.nbytes % 2)
    capture["PixelData"].VR = "OB"
