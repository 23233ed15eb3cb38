"""UIDs of objects that we make."""

import uuid


def derived_uid(*parts: str) -> str:
    """A UID under 2.25 that is always the same for the same parts."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(parts)).int}"
