"""Values as JSON has them: the one place where a dataclass of ours becomes an object of JSON."""

from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import Any


def to_json(value: Any) -> Any:
    """Lists, objects, text and numbers of a value: a dataclass with its fields in their order, a time as ISO 8601 to
    the second, a day as ISO 8601. A class with an `as_dict` of its own says itself what others read of it."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return value
