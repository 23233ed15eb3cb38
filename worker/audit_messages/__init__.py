"""What the audit trail tells the site's audit repository, as DICOM audit messages over syslog."""
