"""The hooks. Each takes no argument and returns `{name: Component subclass}`.

A large plugin may return where the class stands instead, `{name: "module:Class"}`: its module is
imported when the component is first used.

A plugin is a module with any of these functions, marked with `@pixweave.hookimpl`. What the
component's `build(run)` must return is in `pixweave.protocols`, a class for each hook.
"""

from __future__ import annotations

import pluggy

from pixweave.component import Component

hookspec = pluggy.HookspecMarker("pixweave")
hookimpl = pluggy.HookimplMarker("pixweave")

Offers = dict[str, type[Component] | str]


@hookspec
def register_generators() -> Offers:  # type: ignore[empty-body]
    """What makes the picture: parameters that an optimiser moves, and the image they give."""


@hookspec
def register_perceptors() -> Offers:  # type: ignore[empty-body]
    """What understands pictures and words: an image and a text encoder into one space."""


@hookspec
def register_losses() -> Offers:  # type: ignore[empty-body]
    """What is wanted of the picture: a number that goes down as the wish comes true."""


@hookspec
def register_augmentations() -> Offers:  # type: ignore[empty-body]
    """What is done to the crops before a perceptor sees them."""


@hookspec
def register_codecs() -> Offers:  # type: ignore[empty-body]
    """What turns pictures into codes and back: image tokenizers such as VQGAN."""


@hookspec
def register_samplers() -> Offers:  # type: ignore[empty-body]
    """What draws a picture for texts in one go: models that sample, such as DALL-E."""


@hookspec
def register_classifiers() -> Offers:  # type: ignore[empty-body]
    """What names pictures: a score for each label of a list."""


@hookspec
def register_filters() -> Offers:  # type: ignore[empty-body]
    """What is done to the finished picture before it is shown or exported; no loss sees it."""


@hookspec
def register_searchers() -> Offers:  # type: ignore[empty-body]
    """What finds the nearest of many vectors: exactly, or by an index of its own."""


@hookspec
def register_exporters() -> Offers:  # type: ignore[empty-body]
    """What writes the result: pictures and films."""


@hookspec
def register_stages() -> Offers:  # type: ignore[empty-body]
    """What a recipe can do in turn: draw, rank, classify, index, search, or something new."""


@hookspec
def register_trainers() -> Offers:  # type: ignore[empty-body]
    """What trains a model of its own from pictures and captions, for `pixweave train NAME`."""


@hookspec
def register_executors() -> Offers:  # type: ignore[empty-body]
    """What does large work in pieces: in processes of this machine, or on others."""
