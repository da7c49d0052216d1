"""StillPicture: a Generator that is one picture and does not move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class StillPicture:
    """A picture `[B, 3 or 4, H, W]` where a generator is expected; it has no parameters."""

    def __init__(self, picture: Tensor) -> None:
        self._picture = picture

    def parameters(self) -> list[Tensor]:
        """None: nothing moves."""
        return []

    def image(self) -> Tensor:
        """The picture."""
        return self._picture

    def constrain(self) -> None:
        """Nothing: the picture does not change."""

    def start_from(self, image: Tensor) -> None:
        """Be another picture."""
        self._picture = image

    def state_dict(self) -> dict[str, Any]:
        """The picture."""
        return {"picture": self._picture}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be the picture of a `state_dict`."""
        self._picture = state["picture"]
