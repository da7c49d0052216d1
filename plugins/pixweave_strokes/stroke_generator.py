"""The `strokes` generator: parameters, rasterised image, SVG, and the fit to a start image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.engine.optimizer import Adam
from pixweave.engine.sample_start import sampled_start
from pixweave.media import svg
from pixweave_strokes.curves import beziers, path, segments
from pixweave_strokes.raster import Shapes, render

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave_strokes.stroke_settings import Strokes

PLACE, WIDTH = 0.1, 0.05
"""A parameter change of 1 moves a point, or widens half a stroke, by this share of the side."""
SLOPE, LIMIT = 4.0, 2.0
"""Colours and opacities are sigmoids: steepness, and limit of the parameters."""
FAINTEST = -0.35
"""Keeps opacities above 0.2: invisible shapes get no gradient."""
FIT_STEPS, FIT_RATE = 80, 0.1
AGAIN_STEPS, NEAR = 20, 0.01
"""Steps and rate of the fit to an image; AGAIN_STEPS if the mean squared error is below NEAR."""
GENTLE = {"0": 0.006, "end": 0.002}
"""The learning rate after a sampled start, which has most of its shapes already."""


class StrokeDrawing:
    """Curves through points, with widths, colours and opacities, over a paper colour.

    All parameters are scaled so that one learning rate suits all of them.
    """

    def __init__(self, settings: Strokes, run: BuildContext) -> None:
        mode = settings.mode_settings()
        self.size, self.closed = run.size, settings.mode == "shapes"
        self.side = min(run.size)
        percent = self.side / 200 / (WIDTH * self.side)
        least, most = (part * percent for part in mode.width)
        thinnest = 0 if self.closed else 0.5 / (WIDTH * self.side)  # a pixel
        self.widths = max(least, thinnest), max(most, thinnest)
        self.clear = mode.paper == "none"
        rng = run.rng("generator/start")
        start = _start(mode.count, mode.points, self, rng)
        self.fixed: dict[str, Tensor] = {}
        if mode.ink != "auto":
            start["opacities"] = torch.full((mode.count,), 9.0)
            self._fix("opacities", start)
            start["colours"] = _colour(mode.ink).expand(mode.count, 3)
            self._fix("colours", start)
        if self.closed:
            self._fix("widths", start)
        if mode.paper != "auto":
            start["paper"] = _colour("#000000" if self.clear else mode.paper)
            self._fix("paper", start)
        self.fixed = {name: value.to(run.device) for name, value in self.fixed.items()}
        self.moving = {name: value.to(run.device).requires_grad_() for name, value in start.items()}
        self._fitted: tuple[Tensor, dict[str, Tensor]] | None = None
        if settings.sample and (first := sampled_start(run, rng)) is not None:
            self.natural_rate = GENTLE
            self.start_from(first)
        self.info = f"{mode.count} {settings.mode} curves of {mode.points} points"

    def _fix(self, name: str, start: dict[str, Tensor]) -> None:
        self.fixed[name] = start.pop(name)

    def parameters(self) -> list[Tensor]:
        """Points, and those of widths, colours, opacities and paper that are not fixed."""
        return list(self.moving.values())

    def image(self) -> Tensor:
        """The drawing as an image `[1, C, H, W]`, anti-aliased as SVG renderers do it."""
        values = {**self.moving, **self.fixed}
        pieces = beziers(values["points"] * (PLACE * self.side), self.closed)
        half = values["widths"] * (WIDTH * self.side)
        colours = self._shade("colours", values)
        paper = self._shade("paper", values)
        opacity = self._shade("opacities", values)
        self.drawn = [t.detach() for t in (pieces, half, colours, opacity, paper)]
        if self.clear:
            colours = torch.cat([colours, torch.ones_like(colours[:, :1])], 1)
            paper = torch.zeros_like(paper).new_zeros(4)
        picture = render(
            Shapes(*segments(pieces), half, colours, opacity, self.closed), paper, self.size
        )
        if not self.clear:
            return picture.clamp(0, 1)
        alpha = picture[:, 3:]
        return torch.cat([picture[:, :3] / alpha.clamp(min=1e-3), alpha], 1).clamp(0, 1)

    def _shade(self, name: str, values: dict[str, Tensor]) -> Tensor:
        value = values[name]
        if name in self.fixed:
            return value.clamp(0, 1)
        return torch.sigmoid(SLOPE * value)

    def svg(self) -> str:
        """The curves of the last image as SVG, lowest first."""
        pieces, half, colours, opacity, paper = (t.cpu() for t in self.drawn)
        width, height = self.size
        lines = []
        if not self.clear:
            fill = svg.colour(paper.tolist())
            lines.append(f'<rect width="{width}" height="{height}" fill="{fill}"/>')
        if not self.closed:
            lines.append('<g fill="none" stroke-linecap="round" stroke-linejoin="round">')
        for curve, thick, rgb, seen in zip(pieces, half, colours.tolist(), opacity, strict=True):
            line = path(curve, self.closed)
            if self.closed:
                looks = f'fill="{svg.colour(rgb)}" fill-rule="evenodd"'
                looks += svg.opacity("fill-opacity", float(seen))
            else:
                looks = f'stroke="{svg.colour(rgb)}" stroke-width="{svg.number(2 * float(thick))}"'
                looks += svg.opacity("stroke-opacity", float(seen))
            lines.append(f'<path {looks} d="{line}"/>')
        return "\n".join([*lines, *(() if self.closed else ("</g>",))])

    def constrain(self) -> None:
        """Clamp points to the image and a margin, and widths, colours and opacities to limits."""
        with torch.no_grad():
            points = self.moving["points"]
            for axis in (0, 1):
                far = self.size[axis] / (PLACE * self.side)
                points[..., axis].clamp_(-0.1 * far, 1.1 * far)
            for name, low, high in (
                ("widths", *self.widths),
                ("colours", -LIMIT, LIMIT),
                ("paper", -LIMIT, LIMIT),
                ("opacities", FAINTEST, LIMIT),
            ):
                if name in self.moving:
                    self.moving[name].clamp_(low, high)

    def latents(self) -> Tensor:
        """All free parameters `[1, N]`, in units that change the image by similar amounts."""
        return torch.cat([value.flatten() for value in self.moving.values()])[None]

    def start_from(self, image: Tensor) -> None:
        """Set the curves' colours from the image below them, then fit all free parameters to it.

        Fits with Adam on the squared difference: 80 steps, or 20 if the drawing is already close
        (an RMS difference below 0.1 of 0..1), or none if it was fitted to this image and has not
        changed since. Transparent parts of the image count as paper. A sketch, with fixed colours,
        can only move its lines to the dark parts of the image.
        """
        if image.shape[1] == 3:
            image = torch.cat([image, torch.ones_like(image[:, :1])], 1)
        if self._is_fitted(image):
            return
        with torch.no_grad():
            near = float(self._difference(image)) < NEAR
        if near:
            self._fit(image, AGAIN_STEPS)
        else:
            self._set_colours(image)
            self._fit(image, FIT_STEPS)
        self._fitted = image.clone(), self.state_dict()

    def _is_fitted(self, image: Tensor) -> bool:
        if self._fitted is None or not torch.equal(self._fitted[0], image):
            return False
        state = self._fitted[1]
        return all(torch.equal(self.moving[name], value) for name, value in state.items())

    @torch.enable_grad()
    def _fit(self, image: Tensor, steps: int) -> None:
        optimizer = Adam(self.parameters())
        for step in range(steps):
            optimizer.zero_grad()
            self._difference(image).backward()
            optimizer.step(FIT_RATE * (1 - 0.9 * step / steps))
            self.constrain()
        optimizer.zero_grad()

    @torch.no_grad()
    def _set_colours(self, image: Tensor) -> None:
        if self.clear:
            self._move_to_opaque(image[:, 3:])
        if "paper" in self.moving:
            self.moving["paper"].copy_(_unshade(image[0, :3].mean((1, 2))))
        if "colours" in self.moving:
            self.moving["colours"].copy_(_unshade(self._under(image[:, :3])))
            self.moving["opacities"].fill_(0.5)

    def _under(self, image: Tensor) -> Tensor:
        """The values `[N, C]` of an image `[1, C, H, W]` at the middle of each curve."""
        middle = self.moving["points"].mean(1) * (PLACE * self.side)
        grid = middle / middle.new_tensor(self.size) * 2 - 1
        values = F.grid_sample(image, grid[None, None], align_corners=False, padding_mode="border")
        return values[0, :, 0].T

    def _move_to_opaque(self, alpha: Tensor) -> None:
        """Move curves on transparent parts of `alpha` `[1, 1, H, W]` towards the opaque centre."""
        opaque = (alpha[0, 0] > 0.5).nonzero().float()
        if not len(opaque):
            return
        centre = (opaque.mean(0).flip(0) + 0.5) / (PLACE * self.side)
        points = self.moving["points"]
        for _ in range(12):  # 0.75^12: three hundredths of the distance remain
            offsets = (centre - points.mean(1)) * (self._under(alpha) < 0.5)
            points += 0.25 * offsets[:, None]

    def _difference(self, image: Tensor) -> Tensor:
        ours = self.image()
        if self.clear:
            return (_premultiplied(ours) - _premultiplied(image)).square().mean()
        behind = self.drawn[4][:, None, None]
        return (ours - (image[:, :3] * image[:, 3:] + behind * (1 - image[:, 3:]))).square().mean()

    def state_dict(self) -> dict[str, Tensor]:
        """The free parameters by name."""
        return {name: value.detach().clone() for name, value in self.moving.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the free parameters; their shapes must be those of this drawing."""
        with torch.no_grad():
            for name, value in self.moving.items():
                value.copy_(state[name])


def _start(
    count: int, points: int, drawing: StrokeDrawing, rng: torch.Generator
) -> dict[str, Tensor]:
    """Curves scattered over the image: short random walks, or rough circles if closed."""
    width, height = drawing.size
    side = drawing.side
    middle = torch.rand(count, 1, 2, generator=rng) * torch.tensor([width, height])
    if drawing.closed:
        radius = (0.5 + torch.rand(count, 1, 1, generator=rng)) * side / max(count, 4) ** 0.5 / 1.5
        turn = torch.arange(points) / points + torch.rand(count, 1, generator=rng)
        circle = torch.stack([(2 * math.pi * turn).cos(), (2 * math.pi * turn).sin()], 2)
        places = middle + circle * radius
    else:
        heading = torch.rand(count, 1, generator=rng)
        bend = torch.randn(count, points, generator=rng) * 0.08
        angle = 2 * math.pi * (heading + bend.cumsum(1))
        step = torch.stack([angle.cos(), angle.sin()], 2) * (0.22 * side / (points - 1))
        walk = step.cumsum(1)
        places = middle + walk - walk.mean(1, keepdim=True)
    low, high = drawing.widths
    return {
        "points": places / (PLACE * side),
        "widths": low + (high - low) * torch.rand(count, generator=rng) * 0.7,
        "colours": torch.randn(count, 3, generator=rng) * 0.05,
        "opacities": torch.full((count,), 0.3),
        "paper": torch.zeros(3),
    }


def _premultiplied(image: Tensor) -> Tensor:
    """The image `[1, 4, H, W]` with colours multiplied by alpha."""
    return torch.cat([image[:, :3] * image[:, 3:], image[:, 3:]], 1)


def _unshade(colour: Tensor) -> Tensor:
    return (torch.logit(colour, 1e-3) / SLOPE).clamp(-LIMIT, LIMIT)


def _colour(text: str) -> Tensor:
    return torch.tensor([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
