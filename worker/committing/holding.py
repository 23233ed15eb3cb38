"""Whether we hold objects that a peer names: in the ledger, and byte for byte in the spool.

An object is held where the newest revision of it that is kept lies in the spool with the digest of what was received.
What was answered with success and not kept is not held, nor what an unknown peer sent.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, field
from threading import BoundedSemaphore

from sqlalchemy import Engine, select

from dicom_gateway.commitment import CLASS_CONFLICT, NO_SUCH_OBJECT, PROCESSING_FAILURE
from dicom_gateway.spool import Spool, is_spool
from model.digest import file_digest
from worker.db.session import reading
from worker.db.tables import instance
from worker.errors import Undelivered

log = logging.getLogger("xrayq.commitment")

MOST_NAMED = 500
"""UIDs of one query."""
READERS = 2
"""Films that are read at once, whoever asks: live films want the disk too."""
TURN_SECONDS = 0.2
"""Wait for a turn to read, before the peer is looked at again."""
SPOOL_AWAY = "spool_away"


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """An object that is to be in the spool."""

    digest: str
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What looks, made once for each gateway."""

    database: Engine
    spool: Spool
    turns: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(READERS))

    def missing(
        self, objects: Mapping[str, str], unread: Collection[str] | None = None
    ) -> Generator[None, None, dict[str, int]]:
        """SOP Instance UID -> Failure Reason (PS3.3 C.14.1.1) of what we do not hold.

        It is worked out in parts, each at most as long as reading one film takes; no transaction is open meanwhile.

        Args:
            objects: SOP Instance UID -> SOP Class UID.
            unread: of these the bytes are read; of the others, which were read a short time ago, the size is looked at.
                None: all are read.

        Raises:
            SQLAlchemyError; Undelivered where the spool is not there: then nobody knows.
        """
        missing: dict[str, int] = {}
        uids = list(objects)
        for start in range(0, len(uids), MOST_NAMED):
            named = uids[start : start + MOST_NAMED]
            kept = self._kept(named)
            yield
            for uid in named:
                of_uid = kept.get(uid, {})
                file = of_uid.get(objects[uid])
                if file is None:
                    missing[uid] = CLASS_CONFLICT if of_uid else NO_SUCH_OBJECT
                elif fault := (yield from self._fault(file, read=unread is None or uid in unread)):
                    missing[uid] = fault
        return missing

    def _kept(self, uids: Collection[str]) -> dict[str, dict[str, KeptFile]]:
        """The newest that is kept, by SOP Instance UID and SOP Class UID."""
        columns = (instance.c.sop_instance_uid, instance.c.sop_class_uid, instance.c.digest, instance.c.size)
        query = select(*columns).where(instance.c.sop_instance_uid.in_(uids), instance.c.in_spool, instance.c.admitted)
        with reading(self.database) as connection:
            rows = connection.execute(query.order_by(instance.c.revision)).all()
        kept: dict[str, dict[str, KeptFile]] = defaultdict(dict)
        for uid, of_class, digest, size in rows:
            kept[uid][of_class] = KeptFile(digest=digest, size=size)
        return kept

    def _fault(self, file: KeptFile, *, read: bool) -> Generator[None, None, int | None]:
        """What is wrong with it, a Failure Reason; None where nothing is. Raises Undelivered."""
        path, known = self.spool.path_of(file.digest), {"digest": file.digest[:12]}
        try:
            if not read:
                return None if path.stat().st_size == file.size else PROCESSING_FAILURE
            while not self.turns.acquire(timeout=TURN_SECONDS):
                yield
            try:
                actual = file_digest(path)
            finally:
                self.turns.release()
            yield
            if actual == file.digest:
                return None
            log.error("film in the spool is not the one that was received", extra=known)
        except FileNotFoundError:
            if not is_spool(self.spool.root):
                raise Undelivered(SPOOL_AWAY) from None
            log.error("film is not in the spool", extra=known)
            return NO_SUCH_OBJECT
        except OSError as error:
            reason = error.strerror or type(error).__name__
            log.error("film in the spool cannot be read", extra=known | {"reason": reason})
        return PROCESSING_FAILURE
