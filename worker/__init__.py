"""Composes gateway and model into a service: settings, database, queue, scoring, command line."""
