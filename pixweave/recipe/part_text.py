"""Parse a part given on the command line: a name, a YAML mapping, or `open_clip:MODEL/TAG`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixweave.errors import RunError


def part_entry(part: str | Mapping[str, Any], option: str) -> dict[str, Any]:
    """The recipe mapping of a part given as a name, a YAML mapping, or `open_clip:MODEL/TAG`.

    `option` names the command-line option in errors. Raises RunError for invalid YAML.

    >>> part_entry("open_clip:ViT-B-32/openai", "--perceptor")
    {'use': 'open_clip', 'model': 'ViT-B-32', 'pretrained': 'openai'}
    """
    if not isinstance(part, str):
        return dict(part)
    if part.lstrip().startswith("{"):
        import yaml

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
