"""The plugins that are used when a caller names none."""

from __future__ import annotations

import functools
import os

from pixweave.plugins.registry import Plugins


def installed_plugins() -> Plugins:
    """The installed plugins and those in the folders of PIXWEAVE_PLUGINS_DIR, loaded once.

    Those named in PIXWEAVE_WITHOUT are left out, as on the command line. `Plugins.discover()`
    loads them again, for instance after a plugin was installed.
    """
    folders = os.environ.get("PIXWEAVE_PLUGINS_DIR", "").split(os.pathsep)
    without = os.environ.get("PIXWEAVE_WITHOUT", "").split(",")
    return _discover(
        tuple(os.path.abspath(folder) for folder in folders if folder),
        tuple(name for name in without if name),
    )


@functools.lru_cache(maxsize=8)
def _discover(folders: tuple[str, ...], without: tuple[str, ...]) -> Plugins:
    return Plugins.discover(folders, without)
