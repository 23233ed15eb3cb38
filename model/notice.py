"""What stands wherever results are shown."""

NOTICE = "Research software, not a medical device."
MEASURES_NOTICE = "Research software. Not a medical device."
"""The same in evaluation.json and calibration.json, which must not change from one release to the next."""
