"""Arrays in, scores out: the network, its bundle, preprocessing, calibration and engines.

Knows nothing of DICOM or queues.
"""
