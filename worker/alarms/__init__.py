"""Alarms: rules as a table, what is open, and how it is told."""
