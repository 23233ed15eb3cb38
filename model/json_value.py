"""Values that are published: dataclasses that become dicts only where JSON is written."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self, cast


class JsonValue:
    """A dataclass whose fields are the keys of its JSON, in their order."""

    def as_dict(self) -> dict[str, Any]:
        return {field.name: plain(getattr(self, field.name)) for field in fields(cast("Any", self))}

    @classmethod
    def read(cls, found: object) -> Self:
        """From what `as_dict` gave, through JSON or not; keys that are no field are left out. Raises ValueError."""
        from pydantic import TypeAdapter  # only readers need it

        return TypeAdapter(cls).validate_python(found)


def plain(value: object) -> Any:
    """What JSON can say: each value in it by its `as_dict`, sequences as lists."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value
