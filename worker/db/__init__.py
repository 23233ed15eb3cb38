"""The database: queue of record, scores and audit trail."""
