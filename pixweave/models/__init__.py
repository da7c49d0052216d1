"""The model store: weights that are fetched once, checked always, and read as data only.

    files = pixweave.models.model_store().get("vqgan_imagenet_f16_1024")
    files.weights, files.config

Importing it imports neither torch nor anything of the network.
"""

from __future__ import annotations

from pixweave.models.model_store import Check, ModelFiles, Store, home, offline_by

__all__ = ["Check", "ModelFiles", "Store", "home", "offline_by", "store"]


def store() -> Store:
    """The store of this machine, as the environment says: PIXWEAVE_HOME, PIXWEAVE_OFFLINE."""
    return Store()
