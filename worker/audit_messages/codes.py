"""Coded values of audit messages: context groups 400 to 405 of PS3.16, and what PS3.15 A.5.3 names by itself."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Code:
    value: str
    meaning: str
    system: str = "DCM"


def _dicom(value: str, meaning: str) -> Code:
    return Code(value=value, meaning=meaning)


# Events (PS3.16 CID 400).
APPLICATION_ACTIVITY = _dicom("110100", "Application Activity")
INSTANCES_ACCESSED = _dicom("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = _dicom("110104", "DICOM Instances Transferred")
EXPORT = _dicom("110106", "Export")
QUERY = _dicom("110112", "Query")
SECURITY_ALERT = _dicom("110113", "Security Alert")
USER_AUTHENTICATION = _dicom("110114", "User Authentication")

# Their types (CID 401, and of alerts CID 403).
APPLICATION_START = _dicom("110120", "Application Start")
APPLICATION_STOP = _dicom("110121", "Application Stop")
LOGIN = _dicom("110122", "Login")
LOGOUT = _dicom("110123", "Logout")
NODE_AUTHENTICATION = _dicom("110126", "Node Authentication")
SECURITY_CONFIGURATION = _dicom("110129", "Security Configuration")
SOFTWARE_CONFIGURATION = _dicom("110131", "Software Configuration")
USE_OF_RESTRICTED_FUNCTION = _dicom("110132", "Use of Restricted Function")

# Roles of who takes part (CID 402), and the media of an export (CID 405).
APPLICATION = _dicom("110150", "Application")
DESTINATION = _dicom("110152", "Destination Role ID")
SOURCE = _dicom("110153", "Source Role ID")
DESTINATION_MEDIA = _dicom("110154", "Destination Media")
EMAIL = _dicom("110031", "Email")
URI_MEDIA = _dicom("110037", "URI")

# What an object's ID is (CID 404, and PS3.15 A.5.1.2.4).
STUDY_UID = _dicom("110180", "Study Instance UID")
SOP_CLASS_UID = _dicom("110181", "SOP Class UID")
NODE_ID = _dicom("110182", "Node ID")
PATIENT_NUMBER = Code(value="2", meaning="Patient Number", system="RFC-3881")
URI = Code(value="12", meaning="URI", system="RFC-3881")
