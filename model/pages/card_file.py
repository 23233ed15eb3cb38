"""card.json in a bundle's folder, and whether it is that bundle's. `card_json` says what is in it."""

import json
from typing import Any

from model.bundle import Bundle
from model.errors import BundleError

CARD = "card.json"
SCHEMA = 1
WRITE = "'xrayq bundle card' writes one"


def read_card(bundle: Bundle) -> dict[str, Any] | None:
    """The card in a bundle's folder; None where there is none.

    Raises:
        BundleError: it is no card of this schema, or the card of another bundle.
    """
    path = bundle.path / CARD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digest, schema = str(found["bundle"]["digest"]), found["schema"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        raise BundleError(f"{path} is no model card: {WRITE}") from None
    if schema != SCHEMA:
        raise BundleError(f"{path} is a card of schema {schema}, this version reads {SCHEMA}: {WRITE}")
    if digest != bundle.digest:
        raise BundleError(f"{path} is the card of bundle {digest[:12]}, not of {bundle.digest[:12]}: {WRITE}")
    return dict(found)
