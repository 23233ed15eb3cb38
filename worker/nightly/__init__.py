"""The night's report: its content, its files, its schedule."""
