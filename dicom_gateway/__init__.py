"""Everything DICOM: bytes in, values out. Knows nothing of databases, queues or networks that predict."""
