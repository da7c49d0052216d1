"""The commands that plugins add to the command line."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from pixweave.plugins import Plugins
    from pixweave.plugins.plugin import Offer


class PluginState(Protocol):
    """The options about plugins, and the plugins."""

    folders: list[str]

    def plugins(self) -> Plugins: ...


def find(state: PluginState, name: str) -> click.Command | None:
    """The command `name` or `plugin/name` of a plugin; PluginError if it cannot be imported."""
    offer = state.plugins().content("commands").get(name)
    return None if offer is None else imported_command(offer)


def listed(state: PluginState, taken: Container[str]) -> list[str]:
    """The names of the commands of plugins, each the shortest that means it and is not `taken`."""
    return [name for commands in _names(state, taken).values() for name in commands]


def by_plugin(state: PluginState, taken: Container[str]) -> dict[str, dict[str, click.Command]]:
    """The commands of plugins by heading and name, for `--help`; broken ones are left out."""
    groups: dict[str, dict[str, click.Command]] = {}
    for heading, offers in _names(state, taken).items():
        for name, offer in offers.items():
            command = _importable(offer)
            if command is not None:
                groups.setdefault(heading, {})[name] = command
    return groups


def _names(state: PluginState, taken: Container[str]) -> dict[str, dict[str, Offer]]:
    if not (state.folders or _has_strangers()):
        return {}  # loading the bundled plugins would slow down --help
    known = state.plugins().content("commands")
    found: dict[str, dict[str, Offer]] = {}
    seen: set[int] = set()
    for name, offer in known.items():
        if id(offer) not in seen and name not in taken:  # the bare name comes first
            seen.add(id(offer))
            found.setdefault(f"Commands of the plugin {offer.plugin.name}", {})[name] = offer
    return found


def _has_strangers() -> bool:
    """Whether a plugin is installed that does not ship with pixweave."""
    import importlib.metadata  # most commands do not need it

    points = importlib.metadata.entry_points(group="pixweave")
    return any(point.dist is None or point.dist.name != "pixweave" for point in points)


def _importable(offer: Offer) -> click.Command | None:
    from pixweave.errors import PluginError

    try:
        return imported_command(offer)
    except PluginError:
        return None


def imported_command(offer: Offer) -> click.Command:
    """The click command of an offer, under its name in errors; PluginError if it is none."""
    from pixweave.borders.guard import is_raised_by_code
    from pixweave.errors import PartError, PluginError
    from pixweave.plugins.plugin import import_object

    where = f"register_commands() of plugin '{offer.plugin.name}'"
    found: Any = offer.value
    if isinstance(found, str):
        found = import_object(offer.name, found, where)
    if not isinstance(found, click.Command):
        raise PluginError(f"{where}: '{offer.name}' must be a click command, not {found!r}")
    if getattr(found, "pixweave_named", False):
        return found
    invoke = found.invoke

    def named(ctx: click.Context) -> Any:
        """Run the command; an error of it names the command and the plugin."""
        from pixweave.borders.guard import describe_error
        from pixweave.errors import PixweaveError

        try:
            return invoke(ctx)
        except (PixweaveError, click.ClickException, click.exceptions.Exit, click.Abort, OSError):
            raise
        except SystemExit as error:
            ctx.exit(error.code if isinstance(error.code, int) else int(error.code is not None))
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) and not is_raised_by_code(error):
                raise
            name = f"command '{offer.name}' (plugin {offer.plugin.name})"
            raise PartError(name, f"raised {describe_error(error)}") from error

    found.invoke = named  # type: ignore[method-assign]
    found.pixweave_named = True  # type: ignore[attr-defined]
    return found
