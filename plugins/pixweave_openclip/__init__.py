"""Perceptor `open_clip`: any model of the open_clip library, with a fast image tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pixweave import Component, Field, Issue, hookimpl
from pixweave_openclip import model_names as names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo


def _text(raw: Any) -> str:
    """The text as it is, with the place that it was written at (pydantic would drop that)."""
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"must be a text, not {raw!r}")
    return raw


if TYPE_CHECKING:
    Word = str
else:
    Word = Annotated[Any, BeforeValidator(_text), WithJsonSchema({"type": "string"})]


class OpenClip(Component):
    """A CLIP of the open_clip library (Ilharco et al. 2021), from a tag or from a file of yours.

    Weights are read as data only: .safetensors, or .pt files without any code in them. A tag is
    fetched once and kept; a file never needs the network. It computes in the run's precision.
    """

    model: Word = Field(
        "ViT-B-32",
        description="architecture, as open_clip names it; or "
        "`hf-hub:owner/name` or `local-dir:folder`, which bring their weights",
    )
    pretrained: Word | None = Field(
        None,
        description="tag of published weights (openai, laion2b_s34b_b79k...), or a file; "
        "`random` for untrained weights, of use only in benchmarks and tests",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The names must be known to the library, and a file must be there."""
        yield from names.complaints(self.model, self.pretrained)

    def identity(self) -> str:
        """Architecture, and the tag or the digest of the weights."""
        from pixweave_openclip.weights_identity import identity

        return identity(self.model, self.pretrained)

    def reference(self) -> Any:
        """The library's own encoders, for the self-check."""
        from pixweave_openclip.agreement_reference import Reference

        return Reference(self.model, self.pretrained)

    def build(self, run: BuildContext) -> Any:
        """The live model on the run's device; see `pixweave_openclip.perceptor`."""
        from pixweave_openclip.perceptor import Perceptor

        return Perceptor(self.model, self.pretrained, run.device, run.dtype, run.text_only)


@hookimpl
def register_perceptors() -> dict[str, type[Component]]:
    """Offer `open_clip`."""
    return {"open_clip": OpenClip}
