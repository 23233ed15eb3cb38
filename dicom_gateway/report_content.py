"""The tree of a structured report: TID 1500, Measurement Report (PS3.16), as IHE's profile AI Results uses it.

Every measurement group is about the whole film, so its region is the film's border. OHIF v3 wants a region: it goes
through the report by title, image library, tracking UIDs and the regions' images.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    ImageContentItem,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_gateway import report_codes as coded
from dicom_gateway.contexts import FILM_CLASSES
from dicom_gateway.report_words import NOTICE, of_finding, of_note, summary
from dicom_gateway.result import Algorithm, FilmResult, FindingResult, spoken
from dicom_gateway.uids import derived_uid
from dicom_gateway.values import integer, one_uid, text

CONTAINS = RelationshipTypeValues.CONTAINS
DESCRIBES = RelationshipTypeValues.HAS_ACQ_CONTEXT
PROPERTY = RelationshipTypeValues.HAS_PROPERTIES
MODIFIER = RelationshipTypeValues.HAS_CONCEPT_MOD
DIGITS = 4
"""Behind the point of a percentage."""

Item = TypeVar("Item", bound=Dataset)
Group = PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def content_of(result: FilmResult, at: datetime) -> Dataset:
    """The root of the tree, a CONTAINER.

    Args:
        at: when the result was found, in the time zone of the report.
    """
    algorithm = _algorithm(result.algorithm)
    groups = [_film_group(result, algorithm, at)]
    groups += [_finding_group(result, found, algorithm) for found in result.findings]
    root: Dataset = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_device(result.algorithm)),
        procedure_reported=coded.PROCEDURE,
        imaging_measurements=groups,
        title=coded.TITLE,
    )[0]
    *context, measured = root.ContentSequence
    return _with(root, [*context, _library(result.film), measured])


def _device(algorithm: Algorithm) -> ObserverContext:
    """TID 1004."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=algorithm.device_uid,
            name=f"{algorithm.name} {algorithm.version}",
            model_name=algorithm.name,
            serial_number=algorithm.version,
        ),
    )


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    """TID 4019."""
    return AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=[
            f"bundle sha256:{algorithm.bundle_digest}",
            *([f"engine {algorithm.engine}"] if algorithm.engine else []),
            f"software {algorithm.software_version}",
        ],
        family=coded.ARTIFICIAL_INTELLIGENCE,
    )


def _library(film: Dataset) -> ContainerContentItem:
    """TID 1600 with the one film. highdicom's own asks for attributes that films lack; here each is said if known."""
    image = ImageContentItem(
        name=coded.SOURCE,
        referenced_sop_class_uid=one_uid(film, "SOPClassUID"),
        referenced_sop_instance_uid=one_uid(film, "SOPInstanceUID"),
        relationship_type=CONTAINS,
    )
    said: list[ContentItem] = []
    if modality := coded.MODALITIES.get(text(film, "Modality").upper()):
        said.append(CodeContentItem(coded.MODALITY, modality, DESCRIBES))
    for name, keyword in ((coded.ROWS, "Rows"), (coded.COLUMNS, "Columns")):
        if number := integer(film, keyword):
            said.append(NumContentItem(name, number, coded.PIXELS, relationship_type=DESCRIBES))
    return _with(
        ContainerContentItem(coded.LIBRARY, relationship_type=CONTAINS),
        [_with(ContainerContentItem(coded.LIBRARY_GROUP, relationship_type=CONTAINS), [_with(image, said)])],
    )


def _film_group(result: FilmResult, algorithm: AlgorithmIdentification, at: datetime) -> Group:
    """What is said of the film as a whole: the outcome in words, prediction set, notes, or why it was not analysed."""
    evaluations = [QualitativeEvaluation(coded.NOTE, coded.own(note.code, note.meaning)) for note in result.notes]
    if why := result.not_analysed:
        evaluations.append(QualitativeEvaluation(coded.NOT_ANALYSED, coded.own(why.code, why.meaning)))
    elif result.prediction_set is not None:
        certainty = QualitativeEvaluation(coded.CERTAINTY, coded.UNSURE if result.unsure else coded.ONE_FINDING)
        members = [coded.finding(name) for name in result.prediction_set] or [coded.EMPTY_SET]
        _with(certainty[0], [CodeContentItem(coded.IN_SET, member, PROPERTY) for member in members])
        evaluations.append(certainty)
    said = [(coded.SUMMARY, summary(result, at)), (coded.COMMENT, NOTICE)]
    said += [(coded.COMMENT, of_note(note)) for note in result.notes]
    return _group(result, algorithm, about="whole film", evaluations=evaluations, said=said)


def _finding_group(result: FilmResult, found: FindingResult, algorithm: AlgorithmIdentification) -> Group:
    """One finding: its probability, and whether its flag is up.

    It is said to be a Finding of the film only with its flag up: a program that lists findings lists no others.
    """
    evaluations = []
    if found.operating_point is not None:
        evaluations.append(QualitativeEvaluation(coded.FLAG, coded.RAISED if found.flag else coded.NOT_RAISED))
    return _group(
        result,
        algorithm,
        about=spoken(found.name),
        finding=coded.finding(found.name) if found.flag else None,
        measurements=[_probability(found)],
        evaluations=evaluations,
        said=[(coded.COMMENT, of_finding(found))],
    )


def _probability(found: FindingResult) -> Measurement:
    """TID 300, with the interval as the distance to its ends (TID 310), and the operating point."""
    said: list[ContentItem] = [CodeContentItem(coded.FINDING, coded.finding(found.name), MODIFIER)]
    if found.interval:
        low, high = found.interval
        said.append(_part(coded.UPPER, max(high - found.probability, 0.0)))
        said.append(_part(coded.LOWER, max(found.probability - low, 0.0)))
    if found.operating_point is not None:
        said.append(_part(coded.OPERATING_POINT, found.operating_point))
        if found.chosen_for:
            said.append(TextContentItem(coded.CHOSEN_FOR, found.chosen_for, PROPERTY))
    measurement = Measurement(coded.probability_of(found.name), _percent(found.probability), coded.PERCENT)
    _with(measurement[0], said)
    return measurement


def _part(name: Code, share: float) -> NumContentItem:
    return NumContentItem(name, _percent(share), coded.PERCENT, relationship_type=PROPERTY)


def _group(
    result: FilmResult,
    algorithm: AlgorithmIdentification,
    *,
    about: str,
    finding: Code | None = None,
    measurements: Sequence[Measurement] = (),
    evaluations: Sequence[QualitativeEvaluation],
    said: Sequence[tuple[Code, str]],
) -> Group:
    """TID 1410 over the film's border. TID 1501 where the size is unknown: such a film was never analysed.

    The tracking UID is the same for every bundle and revision: the same question about the same film.
    """
    sop_class, instance = one_uid(result.film, "SOPClassUID"), one_uid(result.film, "SOPInstanceUID")
    given: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=derived_uid("tracking", instance, about), identifier=f"{about}, by {result.algorithm.name}"
        ),
        "finding_type": finding,
        "algorithm_id": algorithm,
        "measurements": measurements,
        "qualitative_evaluations": evaluations,
    }
    rows, columns = integer(result.film, "Rows") or 0, integer(result.film, "Columns") or 0
    group: Group
    if rows > 0 and columns > 0 and sop_class in FILM_CLASSES:
        border = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows], [0, 0]], np.float32)
        region = ImageRegion(GraphicTypeValues.POLYLINE, border, SourceImageForRegion(sop_class, instance))
        group = PlanarROIMeasurementsAndQualitativeEvaluations(**given, referenced_region=region)
    else:
        image = SourceImageForMeasurementGroup(sop_class, instance)
        group = MeasurementsAndQualitativeEvaluations(**given, source_images=[image])
    items = list(group[0].ContentSequence)
    context = [item for item in items if item.relationship_type != CONTAINS]
    texts = [TextContentItem(name, value, CONTAINS) for name, value in said]
    _with(group[0], [*context, *texts, *(item for item in items if item.relationship_type == CONTAINS)])
    return group


def _with(item: Item, children: Sequence[ContentItem]) -> Item:
    """The item with these below it."""
    if children:
        item.ContentSequence = ContentSequence(children)
    return item


def _percent(share: float) -> float:
    """OHIF v3 shows two digits behind the point and the unit: 0.4 % as a share of 1 would read 0.00."""
    return round(100 * float(share), DIGITS)
