"""Our Adam and AdamW move parameters exactly as torch's own classes do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pixweave.engine.optimizer import Adam


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_equals_torch_bit_for_bit(decoupled: bool, decay: float) -> None:
    rng = torch.Generator().manual_seed(1)
    start = [torch.randn(7, 5, generator=rng), torch.randn(3, generator=rng)]
    ours = [tensor.clone().requires_grad_() for tensor in start]
    theirs = [tensor.clone().requires_grad_() for tensor in start]
    classes: dict[bool, Any] = {False: torch.optim.Adam, True: torch.optim.AdamW}
    own = Adam(ours, (0.9, 0.99), decay, decoupled)
    reference = classes[decoupled](theirs, lr=1.0, betas=(0.9, 0.99), weight_decay=decay)
    for step in range(25):
        rate = 0.1 / (1 + step)
        for group in reference.param_groups:
            group["lr"] = rate
        for optimizer, parameters in ((own, ours), (reference, theirs)):
            optimizer.zero_grad()
            loss = sum((p * p.cos()).sum() for p in parameters[: 1 + step % 2])
            assert isinstance(loss, torch.Tensor)
            loss.backward()
        own.step(rate)
        reference.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[1], start[1])


def test_it_goes_on_from_its_state() -> None:
    def moved(optimizer: Adam, parameter: torch.Tensor, steps: int) -> torch.Tensor:
        for _ in range(steps):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step(0.1)
        return parameter.detach().clone()

    whole = torch.ones(4, requires_grad=True)
    expected = moved(Adam([whole]), whole, 6)
    first = torch.ones(4, requires_grad=True)
    before = Adam([first])
    second = moved(before, first, 3).requires_grad_()
    after = Adam([second])
    after.load_state_dict(before.state_dict())
    assert torch.equal(moved(after, second, 3), expected)
