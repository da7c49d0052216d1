"""A part named on the command line: a name, a YAML mapping, or `open_clip:MODEL/TAG`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from pixweave.errors import RunError


def part_entry(part: str | Mapping[str, Any], option: str) -> dict[str, Any]:
    """A part as a recipe's mapping, from a name, a YAML mapping, or `open_clip:MODEL/TAG`."""
    if not isinstance(part, str):
        return dict(part)
    if part.lstrip().startswith("{"):
        try:
            return dict(yaml.safe_load(part))
        except yaml.YAMLError as error:
            message = " ".join(str(error).split())
            raise RunError(f"{option} is not a YAML mapping: {message}") from None
    use, colon, rest = part.partition(":")
    if colon:
        model, _, tag = rest.rpartition("/")
        return {"use": use, "model": model, "pretrained": tag} if model else {"use": part}
    return {"use": use}
