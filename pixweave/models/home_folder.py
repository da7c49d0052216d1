"""The folder of pixweave's own files, and what disables the network, from the environment."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def home() -> Path:
    """PIXWEAVE_HOME, or the platform's cache folder for pixweave.

    A user without a home folder, as in some containers, has one in the folder for temporary files.
    """
    if named := os.environ.get("PIXWEAVE_HOME"):
        with contextlib.suppress(RuntimeError):  # `~` of a user without a home folder
            return Path(named).expanduser()
        return Path(named)
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("pixweave", appauthor=False)
    except RuntimeError:  # neither HOME nor an entry in the list of users
        folder = Path("~")
    if str(folder).startswith("~"):
        return Path(tempfile.gettempdir()) / f"pixweave-{os.getuid()}"
    return folder


def offline_by() -> str:
    """What disables the network: an environment variable, `--offline`, or '' for nothing."""
    for name in ("PIXWEAVE_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name) == "--offline":
            return "--offline"
        if os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
            return name
    return ""
