"""What stands wherever results are shown."""

NOT_A_DEVICE = "not a medical device"
"""Where a line has room for no more."""
NOTICE = f"Research software, {NOT_A_DEVICE}."
MEASURES_NOTICE = "Research software. Not a medical device."
"""The same in evaluation.json and calibration.json, which must not change from one release to the next."""
