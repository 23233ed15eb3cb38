"""The audit trail, and whether every film is accounted for by it."""
