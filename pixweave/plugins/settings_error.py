"""The words for invalid settings of a component that a command builds, without a recipe."""

from __future__ import annotations

from pydantic import ValidationError

from pixweave.errors import describe_value, did_you_mean
from pixweave.plugins.plugin import RegisteredComponent


def describe_settings_error(registered: RegisteredComponent, error: ValidationError) -> str:
    """The first error of settings, with the name of the setting and a remedy."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"]))
    part = f"{registered.kind} '{registered.name}'"
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(name, registered.component.model_fields)
        return f"{part} has no setting '{name}'" + (f"; {hint}" if hint else "")
    see = f"see `pixweave show {registered.name}`"
    if first["type"] == "missing":
        return f"{part} needs '{name}'; {see}"
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return f"'{name}' of {part} {message}, not {describe_value(first['input'])}; {see}"
