"""The hooks of plugins. Each takes no argument and returns `{name: Component subclass}`.

A plugin is a module with one or more of these functions, marked with `@pixweave.hookimpl`.
`pixweave.protocols` has one class per hook: what the component's `build(run)` must return. A hook
may also return import paths, `{name: "module:Class"}`: the module of a component is then imported
when the component is first used.
"""

from __future__ import annotations

import pluggy

from pixweave.component import Component

hookspec = pluggy.HookspecMarker("pixweave")
hookimpl = pluggy.HookimplMarker("pixweave")

Offers = dict[str, type[Component] | str]


@hookspec
def register_generators() -> Offers:  # type: ignore[empty-body]
    """Generators make the image: parameters to optimise, and the image rendered from them."""


@hookspec
def register_perceptors() -> Offers:  # type: ignore[empty-body]
    """Perceptors encode images and texts into one vector space, like CLIP."""


@hookspec
def register_losses() -> Offers:  # type: ignore[empty-body]
    """Losses score the image: a number that optimisation makes smaller."""


@hookspec
def register_augmentations() -> Offers:  # type: ignore[empty-body]
    """Augmentations change the crops before a perceptor encodes them."""


@hookspec
def register_codecs() -> Offers:  # type: ignore[empty-body]
    """Codecs encode images as tokens and decode them: image tokenizers such as VQGAN."""


@hookspec
def register_samplers() -> Offers:  # type: ignore[empty-body]
    """Samplers generate an image for texts without optimisation: models such as DALL-E."""


@hookspec
def register_classifiers() -> Offers:  # type: ignore[empty-body]
    """Classifiers label images: a score for each label of a list."""


@hookspec
def register_filters() -> Offers:  # type: ignore[empty-body]
    """Filters change the image before it is shown or exported; losses do not see the result."""


@hookspec
def register_searchers() -> Offers:  # type: ignore[empty-body]
    """Searchers find the nearest vectors, exactly or with their own approximate index."""


@hookspec
def register_exporters() -> Offers:  # type: ignore[empty-body]
    """Exporters write the result: images and films."""


@hookspec
def register_stages() -> Offers:  # type: ignore[empty-body]
    """Stages are the steps of a recipe: generate, rank, classify, index, search, or your own."""


@hookspec
def register_trainers() -> Offers:  # type: ignore[empty-body]
    """Trainers train a model on images and captions, for `pixweave train NAME`."""


@hookspec
def register_executors() -> Offers:  # type: ignore[empty-body]
    """Executors split large jobs into tasks: for processes of this machine, or other machines."""
