"""Secrets from files: `XRAYQ_SMTP_PASSWORD_FILE=/run/secrets/smtp` instead of `XRAYQ_SMTP_PASSWORD`.

As Docker and Kubernetes hand them over: an environment is seen by whoever may look at a process.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

SECRETS = (
    *("database_url", "redis_url", "smtp_password", "webhook_secret", "stow_tokens", "http_token"),
    "web_oidc_client_secret",
)
"""Settings that hold a secret; the two URLs may have a password in them."""
PREFIX, SUFFIX = "XRAYQ_", "_FILE"
LARGEST = 64 << 10


def variable_of(name: str) -> str:
    """The variable that names the file of a setting."""
    return f"{PREFIX}{name.upper()}{SUFFIX}"


class SecretFiles(PydanticBaseSettingsSource):
    """Stands before the environment: there the setting itself is empty, or it is given twice."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One setting. Raises ValueError where the file cannot be used, without a word of it."""
        del field
        variable = variable_of(field_name)
        path = os.environ.get(variable, "") if field_name in SECRETS else ""
        if not path:
            return None, field_name, False
        if os.environ.get(f"{PREFIX}{field_name.upper()}"):
            raise ValueError(f"{variable} and {PREFIX}{field_name.upper()} are both set: give one of them")
        try:
            with Path(path).expanduser().open(encoding="utf-8") as file:
                text = file.read(LARGEST + 1)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ValueError(f"{variable}: cannot read {path}: {why}") from None
        if len(text) > LARGEST:
            raise ValueError(f"{variable}: {path} is longer than {LARGEST >> 10} KiB")
        if not text.strip():
            raise ValueError(f"{variable}: {path} is empty")
        return text.strip("\r\n"), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found
