"""Loss `prompt`: come nearer to, or away from, a text or an image in a perceptor's space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from pixweave import Component, Field, Issue, hookimpl
from pixweave.recipe import InputFile
from pixweave.recipe.image_inputs import Mask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.protocols import Perceptor, RegionView, View


class Prompt(Component):
    """Pull the picture towards a text or an image; with a negative weight, push it away.

    The squared great-circle distance between the crops' embeddings and the target's (Crowson's
    spherical distance, VQGAN+CLIP 2021), averaged over crops and over perceptors by their weights.
    """

    text: str | None = Field(None, min_length=1, description="what the picture should show")
    image: InputFile | None = Field(None, description="a picture to come near to in meaning")
    stop: float | None = Field(
        None,
        ge=0,
        le=5,
        description="distance (half the squared angle, 0 to 4.9) at which the pull ends; with a "
        "negative weight, at which the push ends",
    )
    contrast: float = Field(
        0.6,
        ge=0,
        le=1,
        description="share of the loss that asks to be told apart from the other "
        "captions that the perceptor knows, where it brings such a bank",
    )
    mask: Mask | None = Field(
        None, description="where it looks: crops lie there, and nothing else is seen or changed"
    )
    around: float = Field(
        0.0,
        ge=0,
        le=4,
        description="how far beyond the mask it sees too, in sides of the mask; what lies there "
        "gets no pull",
    )
    perceptors: tuple[str, ...] | None = Field(
        None, description="ids of the perceptors that judge it; by default all"
    )

    @model_validator(mode="after")
    def _one_target(self) -> Prompt:
        if (self.text is None) == (self.image is None):
            raise ValueError("a prompt has either text or image")
        if self.around and self.mask is None:
            raise ValueError("around belongs to a mask, and there is none")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """Perceptors that it names must be there."""
        from pixweave.errors import did_you_mean

        known = [part.id for part in recipe.perceptors]
        for name in self.perceptors or ():
            if name not in known:
                message = f"the recipe has no perceptor with the id '{name}'"
                yield Issue("perceptors", message, did_you_mean(name, known))

    def build(self, run: BuildContext) -> Any:
        """A function of the view; targets are encoded here, once."""
        import torch

        from pixweave.embedding.similarity import contrast, distance, shares, unlike
        from pixweave.engine.masks import draw_mask

        part, judges = run.part, self._judges(run)
        with torch.no_grad():
            targets = {name: self._target(judge, run) for name, judge in judges.items()}
            banks = {
                name: unlike(judge.encode_text(bank).float(), targets[name])
                for name, judge in judges.items()
                if self.contrast and (bank := getattr(judge, "bank", None))
            }

        region = draw_mask(self.mask, run.size, run.device) if self.mask else None
        perceptors = run.recipe.perceptors

        def apart(seen: RegionView, name: str) -> Tensor:
            embedding = seen.embedding(name)
            gap = judged = distance(embedding, targets[name])
            if name in banks and len(banks[name]):
                judged = gap.lerp(contrast(embedding, targets[name], banks[name]), self.contrast)
            if self.stop is not None:  # crops that are far or near enough have no more gradient
                away = part.weight.at(seen.moment) < 0
                moving = gap < self.stop if away else gap > self.stop
                judged = torch.where(moving, judged, judged.detach())
            return judged.mean()

        def loss(view: View) -> Tensor:
            seen = view.within(region, self.around) if region else view
            weights = shares(perceptors, judges, view.moment)
            # a perceptor of weight 0 costs nothing: it encodes nothing
            counted = [weight * apart(seen, name) for name, weight in weights.items() if weight]
            return torch.stack(counted or [view.image.new_zeros(())]).sum()

        return loss

    def _judges(self, run: BuildContext) -> dict[str, Perceptor]:
        return {name: run.perceptors[name] for name in self.perceptors or run.perceptors}

    def _target(self, perceptor: Perceptor, run: BuildContext) -> Tensor:
        from pixweave.embedding.similarity import embed_picture

        if self.text is not None:
            return perceptor.encode_text([self.text]).float()
        assert self.image is not None
        return embed_picture(self.image, perceptor, run.device)


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Offer `prompt`."""
    return {"prompt": Prompt}
