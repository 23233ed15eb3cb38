"""The film itself, or a picture made from it."""

from pathlib import Path

import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.sr import _cid_dict, _concepts_dict

from dicom_gateway.derived import DERIVATIONS, HARMLESS, LOSSY_COMPRESSION, derived_as
from dicom_gateway.header import read_header
from dicom_gateway.views import Code

CR, SC = str(uid.ComputedRadiographyImageStorage), str(uid.SecondaryCaptureImageStorage)
LOSSY = (Code(value=LOSSY_COMPRESSION),)


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        ("", ""),
        ("ORIGINAL\\PRIMARY", ""),
        ("DERIVED\\PRIMARY", ""),  # what consoles write of a film that they processed for display
        ("DERIVED\\PRIMARY\\", ""),
        ("DERIVED\\PRIMARY\\POST_PROCESSED\\\\\\\\100000", ""),
        ("ORIGINAL\\PRIMARY\\\\CHEST", ""),
        ("DERIVED\\PRIMARY\\\\HIGH_ENERGY", ""),
        ("DERIVED", ""),
        ("SECONDARY", ""),
        ("DERIVED\\SECONDARY", "secondary"),
        ("derived \\Secondary\\OTHER", "secondary"),
        ("SECONDARY\\DERIVED", "secondary"),
        ("DERIVED\\PRIMARY\\BONE", "dual_energy"),
        ("DERIVED\\PRIMARY\\\\SOFT TISSUE", "dual_energy"),
        ("DERIVED\\PRIMARY\\\\DUAL_ENERGY_SOFT", "dual_energy"),
        ("DERIVED\\PRIMARY\\\\LOW_ENERGY", "dual_energy"),
        ("DERIVED\\SECONDARY\\SUBTRACTION", "dual_energy"),
        ("DERIVED\\SECONDARY\\BONE_SUPPRESSED", "bone_suppressed"),
        ("DERIVED\\PRIMARY\\\\BONESUPPRESSION", "bone_suppressed"),
        ("DERIVED\\SECONDARY\\CAD", "cad"),
        ("DERIVED\\SECONDARY\\\\CAD_MARKED", "cad"),
        ("ORIGINAL\\PRIMARY\\LOCALIZER", "localizer"),
        ("ORIGINAL\\PRIMARY\\SCOUT", "localizer"),
        ("DERIVED\\PRIMARY\\TOMOSYNTHESIS", "computed"),
        ("ORIGINAL\\PRIMARY\\\\CARBONE\\CADENCE\\TOMORROW", ""),
    ],
)
def test_by_image_type(image_type: str, kind: str) -> None:
    assert derived_as(image_type.split("\\"), sop_class_uid=CR) == kind


@pytest.mark.parametrize(
    ("sop_class", "lossy", "derivations", "kind"),
    [
        (CR, "01", LOSSY, ""),
        (CR, "00", LOSSY, "secondary"),
        (CR, "", LOSSY, "secondary"),
        (CR, "01", (), "secondary"),
        (CR, "01", (*LOSSY, Code(value="113086")), "secondary"),
        (CR, "01", (*LOSSY, Code(value="113062")), "dual_energy"),
        (SC, "01", LOSSY, "secondary"),
    ],
)
def test_a_film_that_an_archive_compressed_is_still_the_film(
    sop_class: str, lossy: str, derivations: tuple[Code, ...], kind: str
) -> None:
    found = derived_as(["DERIVED", "SECONDARY"], sop_class_uid=sop_class, lossy=lossy, derivations=derivations)
    assert found == kind
    assert derived_as(["DERIVED", "PRIMARY"], sop_class_uid=sop_class, lossy=lossy, derivations=LOSSY) == ""


@pytest.mark.parametrize(
    ("derivations", "descriptions", "kind"),
    [
        ((), ("Lossy JPEG compression",), ""),
        ((), ("JPEG 2000 irreversible (lossy) 10:1",), ""),
        (
            (),
            ("Lossy compression with JPEG extended sequential 12 bit, IJG quality factor 90, compression ratio 11.5",),
            "",
        ),
        ((), ("Lossy JPEG compression", "near-lossless JPEG-LS"), ""),
        (LOSSY, (), ""),
        ((*LOSSY, Code(value="113085")), ("resampled and compressed",), ""),
        # the codes, or the text, do not say so
        ((), ("",), "secondary"),
        ((), ("12:1",), "secondary"),
        ((), ("edge enhanced, lossy JPEG compression",), "secondary"),
        ((), ("Lossy JPEG compression", "mean of 4 images"), "secondary"),
        ((), ("lossy JPEG compression of the difference",), "secondary"),
        ((), ("bone suppressed, lossy JPEG compression",), "bone_suppressed"),
        ((*LOSSY, Code(value="113049")), ("Lossy JPEG compression",), "secondary"),  # pixel by pixel mean
        ((Code(value="99999"),), ("Lossy JPEG compression",), "secondary"),
        ((Code(value=""),), ("Lossy JPEG compression",), "secondary"),
    ],
)
def test_a_compressed_film_without_a_code_or_with_several(
    derivations: tuple[Code, ...], descriptions: tuple[str, ...], kind: str
) -> None:
    def found(lossy: str, sop_class: str) -> str:
        return derived_as(
            ["DERIVED", "SECONDARY"],
            sop_class_uid=sop_class,
            lossy=lossy,
            derivations=derivations,
            derivation_descriptions=descriptions,
        )

    assert found("01", CR) == kind
    assert found("00", CR) == found("", CR) == found("01", SC) == (kind or "secondary")


def test_what_a_series_is_called_is_no_derivation() -> None:
    found = derived_as(["DERIVED", "SECONDARY"], sop_class_uid=CR, lossy="01", descriptions=("Lossy JPEG compression",))
    assert found == "secondary"


@pytest.mark.parametrize("sop_class", [CR, SC])
@pytest.mark.parametrize("lossy", ["", "01"])
def test_a_digitised_film_is_the_film(sop_class: str, lossy: str) -> None:
    def found(conversion: str, *types: str, derivations: tuple[Code, ...] = ()) -> str:
        image_type = ("DERIVED", "SECONDARY", *types)
        return derived_as(
            image_type, sop_class_uid=sop_class, conversion=conversion, lossy=lossy, derivations=derivations
        )

    assert found("DF") == found("df") == found("DF", derivations=LOSSY) == ""
    assert {found(other) for other in ("WSD", "SI", "SYN", "DRW", "DV", "DI", "SD", "DFX", "")} == {"secondary"}
    assert found("DF", "CAD") == "cad"
    assert found("DF", derivations=(Code(value="113062"),)) == "dual_energy"
    assert found("DF", derivations=(Code(value="113086"),)) == "secondary"


def test_derivations_are_those_of_the_standard() -> None:
    known = {
        value: meaning
        for name in _cid_dict.cid_concepts[7203]["DCM"]
        for value, (meaning, _) in _concepts_dict.concepts["DCM"][name].items()
    }
    assert {known[value]: kind for value, kind in DERIVATIONS.items()} == {
        "Pixel by pixel subtraction": "dual_energy",
        "Multi-energy proportional weighting": "dual_energy",
        "Multiplanar reformatting": "computed",
        "Curved multiplanar reformatting": "computed",
        "Volume rendering": "computed",
        "Surface rendering": "computed",
        "Segmentation": "computed",
        "Maximum intensity projection": "computed",
        "Minimum intensity projection": "computed",
        "Image stitching": "computed",
        "Spatially-related frames extracted from the volume": "computed",
    }
    assert known[LOSSY_COMPRESSION] == "Lossy Compression"
    assert {known[value] for value in HARMLESS} == {"Lossy Compression", "Spatial resampling"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Chest PA", ""),
        ("CHEST PA SOFT TISSUE NECK", ""),
        ("Dual Energy Chest PA", ""),  # all three of a dual-energy examination may be called so
        ("Chest, r/o bone lesion", ""),
        ("CAD", ""),
        ("coronary artery disease CAD", ""),
        ("JPEG 2000 irreversible (lossy) 10:1", ""),
        ("Chest PA Bone Suppressed", "bone_suppressed"),
        ("BONE-SUPPRESSION", "bone_suppressed"),
        ("rib suppression", "bone_suppressed"),
        ("ClearRead Xray BS", "bone_suppressed"),
        ("Chest DE Bone", "dual_energy"),
        ("dual-energy soft tissue", "dual_energy"),
        ("Soft Tissue", "dual_energy"),
        ("Bone", "dual_energy"),
        ("Energy Subtraction", "dual_energy"),
        ("Chest PA - Soft Tissue", "dual_energy"),
        ("CAD marked", "cad"),
        ("Computer-Aided Detection", "cad"),
        ("Heat map of the chest", "cad"),
        ("No bone suppression", ""),
        ("CXR w/o CAD result", ""),
        ("CXR without CAD results", ""),
        ("Chest PA, not bone suppressed", ""),
        ("non-bone-suppressed", ""),
        ("Bone suppression: OFF", ""),
        ("bone suppression not applied", ""),
        ("OFF: energy subtraction", ""),
        ("No heat map; bone suppressed", "bone_suppressed"),
        ("No heat map, CAD marked", "cad"),
        ("Bone suppression off, bone suppression on", "bone_suppressed"),
        ("Edge enhancement OFF, bone suppression", "bone_suppressed"),
        ("Piano bone suppression", "bone_suppressed"),
        ("Bone suppression, offset 3", "bone_suppressed"),
    ],
)
def test_by_a_description(text: str, kind: str) -> None:
    assert derived_as(["DERIVED", "PRIMARY"], sop_class_uid=CR, descriptions=("", text)) == kind


@pytest.mark.parametrize("name", ["RG1_UNCI.dcm", "RG1_UNCR.dcm", "RG1_J2KI.dcm", "RG1_J2KR.dcm"])
def test_the_sample_films_are_films(name: str) -> None:
    """DERIVED\\PRIMARY, two of them compressed with loss."""
    path = get_testdata_file(name, download=False)
    if not path:
        pytest.skip(f"{name} is not on this machine")
    header = read_header(Path(str(path)))
    assert (header.derived, header.views, header.age_years) == ("", ("PA",), 55.56)
