"""Loss `prompt`: distance to a text or an image in the embedding space of the perceptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, model_validator

from pixweave import Component, Field, Issue, hookimpl
from pixweave.recipe import InputFile
from pixweave.recipe.image_inputs import Mask
from pixweave.recipe.schema_words import exactly_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.protocols import Perceptor, RegionView, View


class Prompt(Component):
    """Pull the image towards a text or another image; with a negative weight, push it away.

    The squared great-circle distance between the embeddings of the crops and of the target
    (Crowson's spherical distance, VQGAN+CLIP 2021), averaged over the crops, and over the
    perceptors by their weights.
    """

    example: ClassVar[Mapping[str, Any]] = {"text": "a fox in snow"}

    model_config = ConfigDict(json_schema_extra=exactly_one("text", "image"))

    text: str | None = Field(None, min_length=1, description="what the image should show")
    image: InputFile | None = Field(
        None, description="an image prompt: an image that the result should be similar to"
    )
    stop: float | None = Field(
        None,
        ge=0,
        le=5,
        description="distance (half the squared angle, 0 to 4.9) at which the loss stops pulling "
        "or, with a negative weight, pushing",
    )
    contrast: float = Field(
        0.6,
        ge=0,
        le=1,
        description="share of the loss that contrasts the prompt with other captions, if the "
        "perceptor includes a bank of them",
    )
    mask: Mask | None = Field(
        None,
        description="region that the prompt applies to; all crops are inside it, and nothing "
        "else is seen or changed",
    )
    around: float = Field(
        0.0,
        ge=0,
        le=4,
        description="margin around the mask that the crops also see, in sides of the mask; it "
        "provides context and is not changed",
    )
    perceptors: tuple[str, ...] | None = Field(
        None, description="ids of the perceptors to use; by default all"
    )

    @model_validator(mode="after")
    def _one_target(self) -> Prompt:
        if (self.text is None) == (self.image is None):
            raise ValueError("a prompt needs either text or image, not both")
        if self.around and self.mask is None:
            raise ValueError("around needs a mask, and none is set")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The named perceptors must exist."""
        from pixweave.errors import did_you_mean

        known = [part.id for part in recipe.perceptors]
        for name in self.perceptors or ():
            if name not in known:
                message = f"the recipe has no perceptor with the id '{name}'"
                yield Issue("perceptors", message, did_you_mean(name, known))

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar; targets are encoded here, once."""
        import torch

        from pixweave.embedding.similarity import contrast, distance, shares, unlike
        from pixweave.engine.masks import draw_mask

        part, chosen = run.part, self._perceptors(run)
        with torch.no_grad():
            targets = {name: self._target(perceptor, run) for name, perceptor in chosen.items()}
            banks = {
                name: unlike(perceptor.encode_text(bank).float(), targets[name])
                for name, perceptor in chosen.items()
                if self.contrast and (bank := getattr(perceptor, "bank", None))
            }

        region = draw_mask(self.mask, run.size, run.device) if self.mask else None
        perceptors = run.recipe.perceptors

        def perceptor_loss(view: RegionView, name: str) -> Tensor:
            embedding = view.embedding(name)
            separation = value = distance(embedding, targets[name])
            if name in banks and len(banks[name]):
                contrasted = contrast(embedding, targets[name], banks[name])
                value = separation.lerp(contrasted, self.contrast)
            if self.stop is not None:  # crops past the stop distance get no gradient
                repelled = part.weight.at(view.moment) < 0
                active = separation < self.stop if repelled else separation > self.stop
                value = torch.where(active, value, value.detach())
            return value.mean()

        def loss(view: View) -> Tensor:
            seen = view.within(region, self.around) if region else view
            weights = shares(perceptors, chosen, view.moment)
            # perceptors of weight 0 are skipped, so that they cost no encoding
            terms = [
                weight * perceptor_loss(seen, name) for name, weight in weights.items() if weight
            ]
            return torch.stack(terms or [view.image.new_zeros(())]).sum()

        return loss

    def _perceptors(self, run: BuildContext) -> dict[str, Perceptor]:
        return {name: run.perceptors[name] for name in self.perceptors or run.perceptors}

    def _target(self, perceptor: Perceptor, run: BuildContext) -> Tensor:
        from pixweave.embedding.similarity import embed_picture

        if self.text is not None:
            return perceptor.encode_text([self.text]).float()
        assert self.image is not None
        return embed_picture(self.image, perceptor, run.device)


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Register `prompt`."""
    return {"prompt": Prompt}
