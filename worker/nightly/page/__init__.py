"""The night's report as a page."""
