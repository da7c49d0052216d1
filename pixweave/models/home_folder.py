"""The folder of pixweave's own files, and what disables the network, from the environment."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """PIXWEAVE_HOME, or the platform's cache folder for pixweave."""
    if named := os.environ.get("PIXWEAVE_HOME"):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("pixweave", appauthor=False)


def offline_by() -> str:
    """What disables the network: an environment variable, `--offline`, or '' for nothing."""
    for name in ("PIXWEAVE_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name) == "--offline":
            return "--offline"
        if os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
            return name
    return ""
