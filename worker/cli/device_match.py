"""The option of `xrayq calibrate` that says which films are of an X-ray device."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from model.bundle import Bundle
    from model.xray_devices import DeviceMatch

MatchOption = Annotated[
    list[str] | None,
    typer.Option(
        help="ATTRIBUTE=VALUE: the device's films have this calling_ae, manufacturer, model_name or station. "
        "May be repeated: all must hold. Default: as the bundle has it for this device."
    ),
]


def device_asked(bundle: "Bundle", name: str, texts: list[str]) -> "DeviceMatch":
    """Which films are the device's. Raises ConfigurationError."""
    from model.xray_devices import DeviceMatch

    pairs: dict[str, str] = {}
    for text in texts:
        attribute, _, value = text.partition("=")
        if attribute in pairs:
            raise ConfigurationError(f"--match {text}: {attribute} is given twice, and a film has one")
        pairs[attribute] = value
    known = next((device.match for device in bundle.devices if device.name == name), None)
    if not pairs and known is None:
        raise ConfigurationError(f"bundle {bundle.name} has no device {name}: say by --match which films are its own")
    try:
        return DeviceMatch(name=name, match=pairs or dict(known or {}))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
