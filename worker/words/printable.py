"""Text of others on its way to a terminal."""


def printable(text: str) -> str:
    """Each character but the line feed that does not print as a space: an escape sequence would move the cursor, or
    worse. As long as before."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)
