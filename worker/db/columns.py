"""Column types and conditional indexes of the tables, alike in SQLite and PostgreSQL."""

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Index, Integer, TypeDecorator, text


class Timestamp(TypeDecorator[datetime]):
    """A time with zone, kept in UTC; SQLite keeps it as text without the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo:
            return value
        return value.replace(tzinfo=UTC)


Identifier = BigInteger().with_variant(Integer, "sqlite")
NullableJson = JSON(none_as_null=True)


def unique_where(condition: str, *columns: str) -> Index:
    """Only one row with the same columns among those that fulfil the condition."""
    return Index(None, *columns, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))
