"""Perceptor `open_clip`: any model of the open_clip library, with a faster image tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, WithJsonSchema

from pixweave import Component, Field, Issue, hookimpl
from pixweave_openclip import model_names as names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo


def _text(raw: Any) -> str:
    """The text unchanged; a str subclass keeps its source location, which pydantic would drop."""
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"must be a text, not {raw!r}")
    return raw


if TYPE_CHECKING:
    Word = str
else:
    Word = Annotated[
        Any, BeforeValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})
    ]


def _with_names(schema: dict[str, Any]) -> None:
    """Let editors offer the architectures; any other text is allowed too."""
    text = {"type": schema.pop("type"), "minLength": schema.pop("minLength")}
    schema |= {"anyOf": [{"enum": names.architectures()}, text], "x-type": "text"}


class OpenClip(Component):
    """A CLIP model of the open_clip library (Ilharco et al. 2021), from a tag or a local file.

    Weights are read as data only: .safetensors, or .pt files that contain no code. A tag is
    downloaded once and cached; a file never needs the network. The model runs in the run's
    precision.
    """

    example: ClassVar[Mapping[str, Any]] = {"pretrained": "laion2b_s34b_b79k"}

    model: Word = Field(
        "ViT-B-32",
        description="architecture, as open_clip names it; or "
        "`hf-hub:owner/name` or `local-dir:folder`, which include their weights",
        json_schema_extra=_with_names,
    )
    pretrained: Word | None = Field(
        None,
        description="tag of published weights (openai, laion2b_s34b_b79k...), or a file; "
        "`random` for untrained weights, useful only in benchmarks and tests",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The names must be known to open_clip, and files must exist."""
        yield from names.find_issues(self.model, self.pretrained)

    def identity(self) -> str:
        """The architecture, and the tag or digest of the weights."""
        from pixweave_openclip.weights_identity import identity

        return identity(self.model, self.pretrained)

    def reference(self) -> Any:
        """open_clip's own encoders, for the self-check."""
        from pixweave_openclip.agreement_reference import Reference

        return Reference(self.model, self.pretrained)

    def build(self, run: BuildContext) -> Any:
        """The perceptor, on the run's device; see `pixweave_openclip.perceptor`."""
        from pixweave_openclip.perceptor import Perceptor

        return Perceptor(self.model, self.pretrained, run.device, run.dtype, run.text_only)


@hookimpl
def register_perceptors() -> dict[str, type[Component]]:
    """Register `open_clip`."""
    return {"open_clip": OpenClip}
