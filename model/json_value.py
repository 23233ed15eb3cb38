"""Values that are published: dataclasses that become dicts only where JSON is written."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import Any, Self, cast


class JsonValue:
    """A dataclass whose fields are the keys of its JSON, in their order."""

    def as_dict(self) -> dict[str, Any]:
        return {field.name: plain(getattr(self, field.name)) for field in fields(cast("Any", self))}


class SparseJson(JsonValue):
    """One whose JSON has no key for a field that is None: what an earlier release wrote is written as it was read."""

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().as_dict().items() if value is not None}


class ReadableJson(JsonValue):
    """One that is read back, too. Its parts may be any dataclasses whose JSON holds their fields."""

    @classmethod
    def read(cls, found: object) -> Self:
        """From what `as_dict` gave, through JSON or not; keys that are no field are left out.

        Raises:
            ValueError: a field is missing or of another type (pydantic's ValidationError).
        """
        from pydantic import TypeAdapter  # only readers need it

        return TypeAdapter(cls).validate_python(found)


def plain(value: object, *, timespec: str = "seconds") -> Any:
    """What JSON can say: a class with an `as_dict` by what that says, any other dataclass by its fields in their order,
    a sequence as a list, a day and a time as ISO 8601, times to `timespec` as in `datetime.isoformat`."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name), timespec=timespec) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(entry, timespec=timespec) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry, timespec=timespec) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec=timespec)
    return value.isoformat() if isinstance(value, date) else value
