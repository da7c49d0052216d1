"""The fast decoder of vqgan: the numbers and gradients of taming's own, by other ways."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pixweave_vqgan.fast_decoder import FastDecoder, _Norm
from pixweave_vqgan.latent_generator import decoder
from pixweave_vqgan.vqgan_model import VQModel
from taming_files import SMALL, decoded, make


def pair(**layers: Any) -> tuple[VQModel, Any]:
    """Our model and taming's, with the same weights."""
    params = {**SMALL, "ddconfig": {**SMALL["ddconfig"], **layers}}
    theirs = make(params)
    ours = VQModel(params)
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("loss.")}
    ours.load_state_dict(state)
    return ours.eval().requires_grad_(False), theirs


def walked(decode: Any, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture, and the gradient of a weighted sum of it with respect to the latents."""
    leaf = latent.clone().requires_grad_()
    picture = decode(leaf)
    weights = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    (picture * weights).sum().backward()
    assert leaf.grad is not None
    return picture.detach(), leaf.grad


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    "layers",
    [
        {},
        {"resamp_with_conv": False},
        {"ch": 64, "ch_mult": [1, 2], "num_res_blocks": 2, "attn_resolutions": []},
        {"ch_mult": [1, 1, 1, 1], "attn_resolutions": [32, 4]},
    ],
    ids=["small", "without convolutions", "f2", "f8"],
)
def test_picture_and_gradient_are_those_of_taming(fused: bool, layers: dict[str, Any]) -> None:
    ours, theirs = pair(**layers)
    latent = torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(0))
    picture, slope = walked(FastDecoder(ours, fused=fused), latent)
    their_picture, their_slope = walked(lambda z: decoded(theirs, z), latent)
    assert (picture - their_picture).abs().max() < 1e-4
    assert apart(slope, their_slope) < 1e-4


def test_it_walks_back_twice_and_leaves_what_it_was_given() -> None:
    ours, _ = pair()
    decode = FastDecoder(ours)
    latent = torch.randn(1, 8, 4, 4).requires_grad_()
    picture = decode(latent)
    weights = torch.randn_like(picture)
    before = weights.clone()
    first = torch.autograd.grad(picture, latent, weights, retain_graph=True)[0]
    second = torch.autograd.grad(picture, latent, weights)[0]
    assert torch.equal(first, second)
    assert torch.equal(weights, before)


def test_in_half_precision_it_is_near() -> None:
    ours, _ = pair()
    latent = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    picture, slope = walked(FastDecoder(ours), latent)
    rough, rough_slope = walked(FastDecoder(ours, torch.bfloat16), latent)
    assert rough.dtype == torch.float32
    assert apart(rough, picture) < 0.03
    assert torch.cosine_similarity(rough_slope.flatten(), slope.flatten(), dim=0) > 0.99


def test_the_norm_keeps_its_digits_where_the_mean_is_large() -> None:
    norm = torch.nn.GroupNorm(32, 64)
    x = torch.randn(1, 64, 40, 40, generator=torch.Generator().manual_seed(0)) + 1000
    x = x.contiguous(memory_format=torch.channels_last)
    flat = x[0].permute(1, 2, 0).flatten(0, 1)
    mean, inverse = _Norm(norm).measure(flat)
    groups = flat.double().unflatten(1, (32, 2)).transpose(0, 1).flatten(1)
    assert torch.allclose(mean.double(), groups.mean(1).repeat_interleave(2), rtol=1e-6)
    wanted = (groups.var(1, correction=0) + norm.eps).rsqrt().repeat_interleave(2)
    assert torch.allclose(inverse.double(), wanted, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_compiled_it_gives_the_same() -> None:
    ours, theirs = pair()
    latent = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    picture, slope = walked(decoder(ours, compiled=True), latent)
    their_picture, their_slope = walked(lambda z: decoded(theirs, z), latent)
    assert (picture - their_picture).abs().max() < 1e-4
    assert apart(slope, their_slope) < 1e-4
