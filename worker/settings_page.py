"""The settings as a page: `python -m worker.settings_page > worker/SETTINGS.md`. A test keeps the two together."""

import sys
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import SecretStr

from worker.secret_files import SECRETS, variable_of
from worker.settings import CONFIG_VARIABLE, Settings
from worker.web_settings import WebSettings

HEAD = f"""# Settings

**Research software. Not a medical device.**

Each is an environment variable, or a line in `xrayq.toml` (`{CONFIG_VARIABLE}` names another file) under its name in
lower case without `XRAYQ_`. The environment wins. Lists are comma-separated in the environment.

What holds a secret can stand in a file, which another variable of the environment names:
{", ".join(f"`{variable_of(name)}`" for name in SECRETS)}.
It is read at the start.

| variable | default | meaning |
|---|---|---|
"""
BOUNDS = {
    Ge: ("ge", "at least {}"),
    Gt: ("gt", "above {}"),
    Le: ("le", "at most {}"),
    Lt: ("lt", "below {}"),
    MinLen: ("min_length", "at least {}"),
    MaxLen: ("max_length", "at most {} characters"),
}


def page() -> str:
    """Every setting with its default and meaning, as Markdown."""
    rows = [
        f"| `XRAYQ_{name.upper()}` | {_shown(field.default)} | "
        f"{field.description}{_range(field.metadata)}{_choices(field.annotation)} |"
        for name, field in sorted(Settings.model_fields.items(), key=lambda pair: pair[0] in WebSettings.model_fields)
    ]
    return HEAD + "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        default = ",".join(default)
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return f"`{default}`" if default not in (None, "") else ""


def _range(metadata: list[Any]) -> str:
    bounds = ((BOUNDS[type(bound)], bound) for bound in metadata if type(bound) in BOUNDS)
    words = [text.format(getattr(bound, name)) for (name, text), bound in bounds]
    return f" {', '.join(words).capitalize()}." if words else ""


def _choices(annotation: Any) -> str:
    return (
        f" One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}."
        if get_origin(annotation) is Literal
        else ""
    )


if __name__ == "__main__":
    sys.stdout.write(page())
