"""The crops that perceptors see: one composed warp per crop, one batched resample for all.

The cutouts of VQGAN+CLIP (Crowson 2021), sampled from the full-resolution image instead of a
thumbnail: zoom, shift, rotation, flip and perspective are one homography per crop. All crops are
read in a single `grid_sample` from an atlas of the image and its half-size copies, so that crops
which shrink the image do not alias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from pixweave.recipe.sections import CropSettings
    from pixweave.timeline.values import Moment

REFLECT, BORDER, FILL, TILE = range(4)


@dataclass(frozen=True)
class CropPlan:
    """The positions of the N crops of one step.

    `warps` `[N, 3, 3]` maps crop coordinates to image coordinates, both -1..1 from edge to edge;
    `outside` `[N]` is the padding beyond the image (REFLECT, BORDER, FILL, TILE); `grey` is the
    value used by FILL; `zoomed` `[N]` is true for zoomed crops and false for wide ones.
    """

    warps: Tensor
    outside: Tensor
    grey: float
    zoomed: Tensor


def plan_crops(
    crops: CropSettings, moment: Moment, aspect: float, rng: torch.Generator
) -> CropPlan:
    """Draw the crops of one step for an image of `aspect` = width / height."""
    count = round(crops.count.at(moment))
    zoomed = torch.arange(count) < round(count * crops.zoomed.at(moment))
    uniform = _Uniform(count, rng)
    zoom = _zoom(crops, aspect, uniform)
    wide = _wide(crops, aspect, uniform)
    tilted = uniform.unit() < crops.chance
    deep, shallow = crops.perspective
    tilt = _perspective(torch.where(zoomed, deep, shallow).double() * tilted, uniform)
    turn = _turn(uniform.between(-crops.turn, crops.turn), uniform.unit() < crops.flip)
    # zoomed crops: perspective applied to the image; wide crops: applied to the crop itself
    warps = torch.where(zoomed[:, None, None], tilt @ zoom, wide @ tilt) @ turn
    return CropPlan(
        warps.float(),
        _outside(crops.padding, zoomed, round(moment.step)),
        float(uniform.unit()[0]),
        zoomed,
    )


def cut_crops(image: Tensor, plan: CropPlan, side: int, threads: int = 1) -> Tensor:
    """The crops `[B * N, C, side, side]` of the images `[B, C, H, W]`, image by image.

    `threads` splits the work of one image: `grid_sample` runs one thread per batch entry.
    """
    batch, channels, height, width = image.shape
    count = len(plan.warps)
    levels = _levels(plan.warps, width, height, side)
    grid, inside = _grid(plan, levels, side, width, height, image.device)
    atlas = _atlas(image, int(levels.max()), bool((plan.outside == TILE).any()))
    # all crops of an image read the same atlas: stacked along the height, its gradient accumulates
    # in place instead of in one copy of the image per crop
    splits = math.gcd(threads, count)
    grids = grid.view(splits, -1, side, 2)
    source = atlas[:, None].expand(-1, splits, -1, -1, -1).flatten(0, 1)
    sheet = F.grid_sample(source, grids.repeat(batch, 1, 1, 1), align_corners=False)
    out = sheet.view(batch * splits, channels, -1, side, side).transpose(1, 2)
    out = out.reshape(batch, count, channels, side, side)
    if inside is not None:
        out = out * inside[:, None] + plan.grey * (1 - inside[:, None])
    return out.flatten(0, 1)


# ---------------------------------------------------------------------------------- drawing a plan


class _Uniform:
    """Draws `count` numbers at a time from one generator, in double precision."""

    def __init__(self, count: int, rng: torch.Generator) -> None:
        self.count, self.rng = count, rng

    def unit(self) -> Tensor:
        return torch.rand(self.count, generator=self.rng, dtype=torch.float64)

    def between(self, low: float | Tensor, high: float | Tensor) -> Tensor:
        return low + (high - low) * self.unit()

    def stratified(self, low: float, high: float) -> Tensor:
        """Like `between`, with one draw from each of `count` equal intervals (less variance)."""
        order = torch.randperm(self.count, generator=self.rng)
        return low + (high - low) * (order + self.unit()) / self.count


def _zoom(crops: CropSettings, aspect: float, uniform: _Uniform) -> Tensor:
    """Crops that cover `area` of the image and lie fully inside it (RandomResizedCrop)."""
    area = uniform.stratified(*crops.area) * aspect  # unit: half the height of the image
    ratio = torch.exp(uniform.between(*(math.log(r) for r in crops.ratio)))
    wide, high = (area * ratio).sqrt(), (area / ratio).sqrt()
    fit = torch.minimum(aspect / wide, 1 / high).clamp(max=1)  # shrink, keeping the ratio
    sx, sy = wide * fit / aspect, high * fit
    return _affine(sx, sy, (1 - sx) * uniform.between(-1, 1), (1 - sy) * uniform.between(-1, 1))


def _wide(crops: CropSettings, aspect: float, uniform: _Uniform) -> Tensor:
    """Crops that show the whole image; along its short side it shifts within the free space."""
    reach = max(aspect, 1.0) / uniform.between(*crops.wide)
    sx, sy = reach / aspect, reach
    room_x, room_y = (max(2 * crops.shift, 1 - min(1.0, r)) for r in (aspect, 1 / aspect))
    return _affine(
        sx, sy, sx * room_x * uniform.between(-1, 1), sy * room_y * uniform.between(-1, 1)
    )


def _affine(sx: Tensor, sy: Tensor, tx: Tensor, ty: Tensor) -> Tensor:
    zero, one = torch.zeros_like(sx), torch.ones_like(sx)
    return torch.stack([sx, zero, tx, zero, sy, ty, zero, zero, one], 1).view(-1, 3, 3)


def _turn(degrees: Tensor, flipped: Tensor) -> Tensor:
    angle = torch.deg2rad(degrees)
    mirror = torch.where(flipped, -1.0, 1.0).double()
    zero, one, cos, sin = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    rows = [cos * mirror, -sin, zero, sin * mirror, cos, zero, zero, zero, one]
    return torch.stack(rows, 1).view(-1, 3, 3)


def _perspective(depth: Tensor, uniform: _Uniform) -> Tensor:
    """Homographies that show the square with its corners moved inward by up to `depth`."""
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    inward = torch.stack([uniform.unit() for _ in range(8)], 1).view(-1, 4, 2)
    moved = corners * (1 - inward * depth[:, None, None])
    return homography(moved, corners.expand_as(moved))


def homography(source: Tensor, target: Tensor) -> Tensor:
    """The `[N, 3, 3]` projective maps from four points `[N, 4, 2]` to four others."""
    x, y = source.unbind(-1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    u, v = target.unbind(-1)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -x * u, -y * u], -1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -x * v, -y * v], -1)
    system = torch.cat([rows_u, rows_v], 1)
    solved = torch.linalg.solve(system, torch.cat([u, v], 1))
    return torch.cat([solved, torch.ones_like(solved[:, :1])], 1).view(-1, 3, 3)


def _outside(padding: str, zoomed: Tensor, step: int) -> Tensor:
    if padding == "mixed":  # as in Pixray: zoomed crops alternate by step, wide ones are on grey
        return torch.where(zoomed, BORDER if step % 2 else REFLECT, FILL)
    code = {"reflect": REFLECT, "border": BORDER, "grey": FILL, "tile": TILE}[padding]
    return torch.full(zoomed.shape, code)


# ---------------------------------------------------------------------------------------- sampling


def _levels(warps: Tensor, width: int, height: int, side: int) -> Tensor:
    """How often to halve the image for each crop, so that their pixels have about equal size."""
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    x, y, w = (warps @ corners.T).unbind(1)
    x, y = x / w * width / 2, y / w * height / 2
    area = (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1).abs() / 2
    most = max(0, int(math.log2(min(width, height))) - 2)
    return (area.sqrt() / side).log2().round().clamp(0, most).long()


def _atlas(image: Tensor, deepest: int, tiled: bool) -> Tensor:
    """The image and its half-size copies, one below the other; each wrapped by 1 px if tiled."""
    levels = [image]
    for _ in range(deepest):
        height, width = levels[-1].shape[-2:]
        half = (math.ceil(height / 2), math.ceil(width / 2))
        levels.append(F.interpolate(levels[-1], half, mode="area"))
    if tiled:
        levels = [F.pad(level, (1, 1, 1, 1), mode="circular") for level in levels]
    if len(levels) == 1:
        return levels[0]
    wide = levels[0].shape[-1]
    return torch.cat([F.pad(level, (0, wide - level.shape[-1])) for level in levels], dim=2)


def _grid(
    plan: CropPlan, levels: Tensor, side: int, width: int, height: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Atlas coordinates of each crop pixel `[N, side, side, 2]`, and which are in the image."""
    tiled = bool((plan.outside == TILE).any())
    rim = 1 if tiled else 0
    widths, heights, tops = [width], [height], [0]
    for _ in range(int(levels.max())):
        tops.append(tops[-1] + heights[-1] + 2 * rim)
        widths.append(math.ceil(widths[-1] / 2))
        heights.append(math.ceil(heights[-1] / 2))
    whole_w, whole_h = width + 2 * rim, tops[-1] + heights[-1] + 2 * rim

    def per_crop(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[levels].view(-1, 1, 1).to(device)

    warps = plan.warps.to(device)
    m = warps.reshape(-1, 9, 1, 1).unbind(1)
    line = (torch.arange(side, device=device, dtype=torch.float32) * 2 + 1) / side - 1
    u, v = line.view(1, 1, side), line.view(1, side, 1)
    w = m[6] * u + m[7] * v + m[8]
    x, y = (m[0] * u + m[1] * v + m[2]) / w, (m[3] * u + m[4] * v + m[5]) / w
    inside = None
    if (plan.outside == FILL).any():
        filled = (plan.outside == FILL).view(-1, 1, 1).to(device)
        seen = (x.abs() <= 1) & (y.abs() <= 1)
        inside = (seen | ~filled)[:, None].float().squeeze(1)
    # tested before `outside` is moved to the device
    if ((plan.outside == REFLECT) | (plan.outside == TILE)).any():
        outside = plan.outside.view(-1, 1, 1).to(device)
        x, y = _fold(x, outside), _fold(y, outside)
    else:
        x, y = x.clamp(-1, 1), y.clamp(-1, 1)
    # half a pixel from the edge, interpolation does not reach the next level
    margin = 0.0 if tiled else 0.5
    px = _to_pixels(x, per_crop(widths), margin) + rim
    py = _to_pixels(y, per_crop(heights), margin) + rim + per_crop(tops)
    return torch.stack([px * (2 / whole_w) - 1, py * (2 / whole_h) - 1], -1), inside


def _to_pixels(t: Tensor, length: Tensor, margin: float) -> Tensor:
    """Coordinates -1..1 as pixels of a level, at least `margin` away from its edges."""
    pixels = (t + 1) * (length / 2)
    return torch.minimum(pixels.clamp(min=margin), length - margin)


def _fold(t: Tensor, outside: Tensor) -> Tensor:
    """Map coordinates beyond -1..1 back into the image."""
    reflected = 1 - (torch.remainder(t + 1, 4) - 2).abs()
    wrapped = torch.remainder(t + 1, 2) - 1
    folded = torch.where(outside == TILE, wrapped, reflected)
    return torch.where((outside == REFLECT) | (outside == TILE), folded, t.clamp(-1, 1))
