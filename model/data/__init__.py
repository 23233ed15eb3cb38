"""Labelled films: read, prepared, split, and opened again."""
