"""The evidence pack: how one result came about, in one signed file, and its verification on any machine."""
