"""State: what the commands share, the options about plugins and the plugins themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixweave.plugins import Plugins

_LOOKED_AT = {"--plugins-dir": "folders", "--without": "without"}


class State:
    """State shared by the commands: the plugin options, and the plugins, loaded on first use."""

    def __init__(self) -> None:
        self.folders: list[str] = _split(os.environ.get("PIXWEAVE_PLUGINS_DIR"), os.pathsep)
        self.without: list[str] = _split(os.environ.get("PIXWEAVE_WITHOUT"), ",")
        self.debug = False
        self.ahead = False
        """Whether the options about plugins were taken already, by `look_ahead`."""
        self._plugins: Plugins | None = None

    def look_ahead(self, args: Sequence[str]) -> None:
        """Take the options about plugins before a command is parsed that may be a plugin's."""
        for option, following in zip(args, [*args[1:], ""], strict=True):
            name, _, value = option.partition("=")
            if name in _LOOKED_AT and (value := value or following):
                getattr(self, _LOOKED_AT[name]).append(value)
        self.ahead = True

    def plugins(self) -> Plugins:
        """The installed plugins and those of `--plugins-dir`, except `--without`."""
        if self._plugins is None:
            from pixweave.plugins import Plugins

            self._plugins = Plugins.discover(self.folders, self.without)
        return self._plugins


def _split(text: str | None, separator: str) -> list[str]:
    return [part for part in (text or "").split(separator) if part]
