"""The settings as a page: `python -m worker.settings_page > worker/SETTINGS.md`. A test keeps the two together."""

import sys
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr

from worker.settings import CONFIG_VARIABLE, Settings

HEAD = f"""# Settings

Each is an environment variable, or a line in `xrayq.toml` (`{CONFIG_VARIABLE}` names another file) under its name in
lower case without `XRAYQ_`. The environment wins. Lists are comma-separated in the environment.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """Every setting with its default and meaning, as Markdown."""
    rows = [
        f"| `XRAYQ_{name.upper()}` | {_shown(field.default)} | {field.description}{_choices(field.annotation)} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return f"`{default}`" if default not in (None, "") else ""


def _choices(annotation: Any) -> str:
    return (
        f" One of {', '.join(f'`{one}`' for one in get_args(annotation))}." if get_origin(annotation) is Literal else ""
    )


if __name__ == "__main__":
    sys.stdout.write(page())
