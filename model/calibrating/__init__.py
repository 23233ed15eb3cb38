"""Calibration: probabilities, operating points and prediction sets fitted to labelled films."""
