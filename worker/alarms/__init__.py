"""Alarms: rules as a table, what is open, and how people hear of it."""
