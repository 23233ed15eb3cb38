"""Statistics: intervals, curves, calibration error, drift, tests that may be looked at after every film."""
