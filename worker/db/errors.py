"""The error of the tree in `worker.errors` that is one of SQLAlchemy's too."""

from sqlalchemy.exc import SQLAlchemyError


class CommitUnknown(SQLAlchemyError):
    """The connection broke while a commit was under way: it may be done, or not, or be done later."""
