"""The JSON Schema of a configuration file of `pixweave train`, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave.errors import PluginError
from pixweave.recipe.part_schema import PartSchemas
from pixweave.recipe.schema_document import document
from pixweave.recipe.schema_words import Schema, described, one_or_more
from pixweave.train.plan import Head

if TYPE_CHECKING:
    from pixweave.plugins import Plugins


def schema(plugins: Plugins, name: str, *, plain: bool = False) -> Schema:
    """The JSON Schema of the settings of a trainer, its seed and its data.

    `plain` leaves out the keywords that only editors know. Raises PluginError for an unknown
    trainer.
    """
    try:
        found = plugins.find("trainer", name)
    except LookupError as error:
        message, hint = (*error.args, "")[:2]
        raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
    parts = PartSchemas(plugins)
    head = parts.model("train", Head)["properties"]
    data = described(one_or_more({"type": "string"}), head["data"]["description"])
    made = parts.model(f"trainer.{found.name}", found.component)
    made |= {
        "title": f"pixweave train {found.name}",
        "type": "object",
        "properties": {**made["properties"], **head, "data": data},
    }
    made.pop("required", None)  # --set may give it
    return document(made, parts.found, plain=plain)
