"""Gateway, relay, worker and `up`: parts put together from the settings."""
