"""Plugins: finds and loads them, and looks up what they offer by name."""

from pixweave.hookspecs import HOOKS
from pixweave.plugins.installed import installed_plugins
from pixweave.plugins.plugin import Plugin, RegisteredComponent
from pixweave.plugins.registry import Plugins

__all__ = ["HOOKS", "Plugin", "Plugins", "RegisteredComponent", "installed_plugins"]
