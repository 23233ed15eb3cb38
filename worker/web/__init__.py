"""The web page: worklist, film, reading, operations."""
