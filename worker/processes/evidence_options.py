"""What an evidence pack needs of the settings."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from worker.errors import Unhealthy
from worker.processes.parts import film_reader, open_database, open_spool
from worker.processes.result_options import pictures

if TYPE_CHECKING:
    from model.bundle import Bundle
    from model.engine.base import Engine
    from worker.evidence.pack import EvidenceOptions, EvidenceSources
    from worker.settings import Settings


@contextmanager
def evidence_sources(settings: "Settings", bundles: "Sequence[Bundle]") -> "Iterator[EvidenceSources]":
    """What packs are made from, until the block ends.

    Args:
        bundles: to be taken for their digests before those that were in service.

    Raises NotFound, Unhealthy.
    """
    if find_spec("onnxruntime") is None:
        raise Unhealthy("ONNX Runtime is not installed here: run this where a worker runs")
    from model.engine import choose
    from worker.bundles.roles import open_by_digest
    from worker.evidence import keys
    from worker.evidence.pack import EvidenceSources

    key = keys.private_key(settings.signing_key)
    database = open_database(settings)
    named = {bundle.digest: bundle for bundle in bundles}

    def find_bundle(digest: str) -> "Bundle":
        return named.get(digest) or open_by_digest(database, digest, settings.bundle)

    def open_engine(bundle: "Bundle", name: str) -> "Engine":
        return choose.open_engine(bundle, name, plans=settings.plan_folder, flag_tolerance=1.0)

    drawn = pictures(settings, find_bundle)
    try:
        with film_reader(settings) as read_film:
            yield EvidenceSources(
                database=database,
                spool=open_spool(settings),
                key=key,
                find_bundle=find_bundle,
                read_film=read_film,
                open_engine=open_engine,
                pictures=drawn,
            )
    finally:
        drawn.close()


def evidence_options(settings: "Settings", *, actor: str, with_film: bool) -> "EvidenceOptions":
    from worker.evidence.pack import EvidenceOptions

    return EvidenceOptions(
        zone=settings.zone,
        site=settings.site,
        settings=without_secrets(settings),
        actor=actor,
        with_film=with_film,
    )


def without_secrets(settings: "Settings") -> dict[str, Any]:
    """Every setting, JSON-ready. Of a secret whether it is set; of an address scheme, host and port: the rest of it may
    be a password, or a key of the one who is addressed."""
    values = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return {name: _shown(value) for name, value in values}


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if isinstance(value, tuple | list):
        return [_shown(entry) for entry in value]
    if isinstance(value, str) and "://" in value:
        return _origin(value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _origin(address: str) -> str:
    """Nothing behind the scheme where a password may hold signs that end it."""
    scheme, _, rest = address.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if "@" in rest[len(authority) :] or not re.fullmatch(r"[\w.-]*(:\d+)?|\[[\w:.%]+\](:\d+)?", host):
        return f"{scheme}://..."
    return f"{scheme}://{host}"
