"""What stands wherever results are shown."""

NOT_A_DEVICE = "not a medical device"
"""Where a line has room for no more."""
NOTICE = f"Research software, {NOT_A_DEVICE}."
