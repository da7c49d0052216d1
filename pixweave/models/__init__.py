"""The model store: weights that are fetched once, checked always, and read as data only.

    files = pixweave.models.store().get("vqgan_imagenet_f16_1024")
    files.weights, files.config

Importing it imports neither torch nor anything of the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave.models.home_folder import home, offline_by

if TYPE_CHECKING:
    from pixweave.models.model_store import Check, ModelFiles, Store

__all__ = ["Check", "ModelFiles", "Store", "home", "offline_by", "store"]


def store() -> Store:
    """The store of this machine, as the environment says: PIXWEAVE_HOME, PIXWEAVE_OFFLINE."""
    from pixweave.models.model_store import Store

    return Store()


def __getattr__(name: str) -> Any:
    """Import the store when it is first asked for: most runs need the folder alone."""
    if name in __all__:
        from pixweave.models import model_store

        return getattr(model_store, name)
    raise AttributeError(f"module 'pixweave.models' has no attribute '{name}'")
