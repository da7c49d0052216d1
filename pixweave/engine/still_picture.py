"""StillPicture: a Generator that always gives the same image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class StillPicture:
    """An image `[B, 3 or 4, H, W]` where a generator is expected; it has no parameters."""

    def __init__(self, picture: Tensor) -> None:
        self._picture = picture

    def parameters(self) -> list[Tensor]:
        """Empty: there is nothing to optimise."""
        return []

    def image(self) -> Tensor:
        """The image."""
        return self._picture

    def constrain(self) -> None:
        """Do nothing: the image does not change."""

    def start_from(self, image: Tensor) -> None:
        """Replace the image."""
        self._picture = image

    def state_dict(self) -> dict[str, Any]:
        """The image."""
        return {"picture": self._picture}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the image of a `state_dict`."""
        self._picture = state["picture"]
