"""What stands wherever results are shown."""

NOTICE = "Research software, not a medical device."
