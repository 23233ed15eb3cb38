"""The codes of a structured report: the standard's where it has one that means the same, else our own.

Own codes are of the coding scheme 99XRAYQ (PS3.3 8.2: a designator of 99 and more is private). CONFORMANCE lists them.
"""

import re

from pydicom.sr.coding import Code

from dicom_gateway.result import spoken

SCHEME = "99XRAYQ"
MOST_MEANING = 64
"""Characters of a Code Meaning (VR LO)."""


def own(value: str, meaning: str) -> Code:
    """One of ours. A longer meaning is cut: the whole sentence belongs into a text."""
    return Code(value, SCHEME, meaning[:MOST_MEANING].strip())


TITLE = Code("126000", "DCM", "Imaging Measurement Report")
"""OHIF v3 shows a report of this title, and no other."""
PROCEDURE = Code("399208008", "SCT", "Plain chest X-ray")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
FINDING = Code("121071", "DCM", "Finding")
SUMMARY = Code("121111", "DCM", "Summary")
COMMENT = Code("121106", "DCM", "Comment")
LIBRARY = Code("111028", "DCM", "Image Library")
LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
MODALITY = Code("121139", "DCM", "Modality")
ROWS = Code("110910", "DCM", "Pixel Data Rows")
COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
UPPER = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
LOWER = Code("371885007", "SCT", "-, range of lower measurement uncertainty")
PERCENT = Code("%", "UCUM", "Percent")
PIXELS = Code("{pixels}", "UCUM", "Pixels")

OPERATING_POINT = own("OPERATING_POINT", "Operating point")
CHOSEN_FOR = own("CHOSEN_FOR", "Operating point chosen for")
FLAG = own("FLAG", "Flag")
RAISED, NOT_RAISED = own("RAISED", "Flag raised"), own("NOT_RAISED", "Flag not raised")
IN_SET = own("PREDICTION_SET", "Prediction set")
EMPTY_SET = own("EMPTY_SET", "None of the findings")
CERTAINTY = own("CERTAINTY", "Certainty")
UNSURE = own("UNSURE", "Unsure: the prediction set is not one finding")
ONE_FINDING = own("ONE_FINDING", "The prediction set is one finding")
NOTE = own("NOTE", "Analysed all the same, although")
NOT_ANALYSED = own("NOT_ANALYSED", "Not analysed, because")

MODALITIES = {
    "CR": Code("CR", "DCM", "Computed Radiography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "RG": Code("RG", "DCM", "Radiographic imaging"),
}
"""Of DCID 29; another is left out of the image library."""

FINDINGS = {
    "normal": Code("17621005", "SCT", "Normal"),
    "notnormal": Code("263654008", "SCT", "Abnormal"),
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "covid19": Code("840539006", "SCT", "COVID-19"),
}
"""By letters and digits of the finding's name."""


def finding(name: str) -> Code:
    """SNOMED CT's code of a finding, however it is written; one of ours where we know none."""
    return FINDINGS.get(_letters(name).lower()) or own(_letters(name).upper(), spoken(name))


def probability_of(name: str) -> Code:
    """What a probability is called. A viewer shows this name alone beside the figure, so it holds the finding's."""
    return own(f"P_{_letters(name).upper()}", f"Probability of {spoken(name)}")


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name)
