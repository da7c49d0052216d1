"""The model store: downloads model weights once, verifies them, and reads them as data only.

    files = pixweave.models.store().get("vqgan_imagenet_f16_1024")
    files.weights, files.config

Importing this package imports neither torch nor network libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave.models.home_folder import home, offline_by

if TYPE_CHECKING:
    from pixweave.models.model_store import Check, ModelFiles, Store

__all__ = ["Check", "ModelFiles", "Store", "home", "offline_by", "store"]


def store() -> Store:
    """The store of this machine, configured by PIXWEAVE_HOME and PIXWEAVE_OFFLINE."""
    from pixweave.models.model_store import Store

    return Store()


def __getattr__(name: str) -> Any:
    """Import the store on first access: most commands need only the folder."""
    if name in __all__:
        from pixweave.models import model_store

        return getattr(model_store, name)
    raise AttributeError(f"module 'pixweave.models' has no attribute '{name}'")
