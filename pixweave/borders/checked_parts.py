"""The checks of each kind of part; `checked` wraps what a component's `build(run)` returned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.random  # noqa: F401 - its stream is watched only once it is imported
import torch
from torch import Tensor

from pixweave.borders.call_records import record
from pixweave.borders.checked_part import CheckedPart, Host
from pixweave.borders.tensor_checks import fault_of, fault_of_units, shape_text
from pixweave.borders.wording import describe, not_a
from pixweave.component import Part
from pixweave.errors import InvalidValue
from pixweave.protocols import Scores
from pixweave.timeline.values import Moment, Value

if TYPE_CHECKING:
    from pixweave.events import Frame

UNIT = (0.0, 1.0)
_METHOD_OF_ABILITY = {"start_from": "start_from", "latent": "latents", "svg": "svg"}


class CheckedGenerator(CheckedPart):
    """Checks the image, its gradient, and the parameters."""

    required = ("parameters", "image", "constrain", "state_dict", "load_state_dict")
    guarded = frozenset(
        {"constrain", "advance", "shown", "latents", "svg", "state_dict", "load_state_dict"}
    )

    def _required(self) -> tuple[str, ...]:
        can, abilities = self._part.settings.can, _METHOD_OF_ABILITY.items()
        return (*self.required, *(name for ability, name in abilities if ability in can))

    def image(self) -> Tensor:
        """The instance's image, checked."""
        image: Tensor = self._call("image", self._instance.image)
        if self._is_new("image", image):
            width, height = self._host.size
            shape = ("B", "3 or 4", height, width)
            self._check(fault_of(image, shape, self._host.device, within=UNIT))
            self._check_same_kind(image)
        has_gradient = image.requires_grad or not torch.is_grad_enabled()
        if not has_gradient and self._seen.get("parameters"):
            self._fail(
                "gave an image without a gradient; compute it from the tensors of parameters() "
                "without detach(), .data or no_grad()"
            )
        record(self._name, self._seen.get("parameters", ()), image)
        return image

    def _check_same_kind(self, image: Tensor) -> None:
        """The number of images and of channels must not change: exporters rely on it."""
        kind = tuple(image.shape[:2])
        before = self._seen.setdefault("kind", kind)
        if kind != before:
            first = shape_text((*before, *image.shape[2:]))
            self._fail(
                f"gave {describe(image)} after {first}; the number of images and of channels must "
                "stay the same"
            )

    def _checked_shown(self, image: Any) -> None:
        if image is not None:
            width, height = self._host.size
            self._check(fault_of(image, ("B", "3 or 4", height, width), self._host.device))

    def _checked_svg(self, elements: Any) -> None:
        if not isinstance(elements, str):
            self._fail(f"{not_a(elements, 'SVG elements as text')} from svg()")

    def _checked_latents(self, latents: Any) -> None:
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            self._fail(f"{not_a(latents, 'a float tensor [B, ...]')} from latents()")

    def _check_attribute(self, name: str, value: Any) -> None:
        super()._check_attribute(name, value)
        if name == "palette" and value is not None:
            right = isinstance(value, Tensor) and value.dtype == torch.uint8
            if not right or value.ndim != 2 or value.shape[1] != 3 or not len(value):
                self._fail(f"has the palette {describe(value)}; it must be [K, 3] uint8, or None")
        if name == "natural_rate":
            try:
                Value(value).at(Moment(0, 2, 1.0, {}))
            except InvalidValue as error:
                self._fail(f"has a natural_rate that {error.message}")

    def parameters(self) -> list[Tensor]:
        """The instance's parameters, checked."""
        given = self._call("parameters", self._instance.parameters)
        if not isinstance(given, Iterable):
            self._fail(not_a(given, "a list of tensors as its parameters"))
        parameters = list(given)
        for tensor in parameters:
            self._check_parameter(tensor)
        moves = hasattr(self, "advance") or "without_losses" in self._part.settings.can
        if not parameters and not moves:
            self._fail(
                "gave no parameters to optimise; give leaf tensors, or add advance(moment) if it "
                "updates itself"
            )
        self._seen["parameters"] = parameters
        return parameters

    def start_from(self, image: Tensor) -> None:
        """Let the instance start from an image, which it must not change."""
        handed = self._handed("start_from", image=image)
        self._call("start_from", self._instance.start_from, image)
        self._check_handed(handed)

    def _check_parameter(self, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            self._fail(not_a(tensor, "float tensors as its parameters"))
        if not (tensor.is_leaf and tensor.requires_grad):
            self._fail(
                "gave a parameter that cannot be optimised; it must be a leaf tensor with "
                "requires_grad, such as torch.zeros(...).requires_grad_()"
            )
        if tensor.device.type != self._host.device.type:
            self._fail(
                f"gave a parameter on {tensor.device.type}; it must be on "
                f"{self._host.device.type}, the run's device"
            )


class CheckedPerceptor(CheckedPart):
    """Checks the vectors of images and texts."""

    required = ("size", "encode_image", "encode_text")
    guarded = frozenset({"overflow", "features"})

    def encode_image(self, crops: Tensor) -> Tensor:
        """The instance's vectors of images, checked."""
        handed = self._handed("encode_image", crops=crops)
        vectors: Tensor = self._call("encode_image", self._instance.encode_image, crops)
        self._check_handed(handed)
        self._check_vectors("images", vectors, len(crops), "encode_image")
        self._check_gradient(crops, vectors, "vectors")
        record(self._name, [crops], vectors)
        return vectors

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """The instance's vectors of texts, checked."""
        vectors: Tensor = self._call("encode_text", self._instance.encode_text, texts)
        self._check_vectors("texts", vectors, len(texts), "encode_text")
        return vectors

    def _check_attribute(self, name: str, value: Any) -> None:
        super()._check_attribute(name, value)
        if name in ("bank", "templates") and not _are_texts(value):
            self._fail(f"has the {name} {describe(value)}; it must be a list of texts")
        if name == "logit_scale" and not _is_number(value):
            self._fail(f"has the logit_scale {describe(value)}; it must be a number")
        if name == "logit_bias" and not (value is None or _is_number(value)):
            self._fail(f"has the logit_bias {describe(value)}; it must be a number or None")

    def _checked_overflow(self, rest: Any) -> None:
        if not isinstance(rest, str):
            self._fail(
                f"{not_a(rest, 'the words that do not fit, or an empty text')} from overflow()"
            )

    def _check_instance(self) -> None:
        super()._check_instance()
        size = self._instance.size
        if not isinstance(size, int) or size < 1:
            self._fail(f"has the size {describe(size)}; it must be a whole number of pixels")

    def _check_vectors(self, what: str, vectors: Any, count: int, method: str) -> None:
        plain = isinstance(vectors, Tensor) and vectors.ndim == 2 and len(vectors) == count
        if plain and not self._is_new(what, vectors[:0]):  # the same vectors, however many
            return
        width = self._seen.get("width", "D")
        self._seen.pop(what, None)
        shape = (count, width)
        if fault := fault_of(vectors, shape, self._host.device, dtype=None):
            self._fail(f"{fault} from {method}, one vector for each of the {count} {what}")
        self._check(fault_of_units(vectors))
        self._seen["width"] = vectors.shape[1]
        self._is_new(what, vectors[:0])


def _are_texts(value: Any) -> bool:
    listed = isinstance(value, (list, tuple))
    return listed and all(isinstance(text, str) and text for text in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


class CheckedAugmentation(CheckedPart):
    """Checks the crops."""

    arguments = ("crops", "rng", "moment")

    def __call__(self, crops: Tensor, rng: torch.Generator, moment: Moment) -> Tensor:
        """The instance's crops, checked."""
        handed = self._handed("call", crops=crops)
        result: Tensor = self._call("call", self._instance, crops, rng, moment)
        self._check_handed(handed)
        if self._is_new("crops", result) or result.shape != crops.shape:
            self._check(fault_of(result, tuple(crops.shape), self._host.device))
        self._check_gradient(crops, result, "crops")
        record(self._name, [crops], result)
        return result


class CheckedFilter(CheckedPart):
    """Checks the image after the filter."""

    arguments = ("image", "moment")

    def __call__(self, image: Tensor, moment: Moment) -> Tensor:
        """The instance's image, checked."""
        handed = self._handed("call", image=image)
        result: Tensor = self._call("call", self._instance, image, moment)
        self._check_handed(handed)
        if self._is_new("image", result) or self._is_new("input", image):
            size = (image.shape[3], image.shape[2])
            width, height = self._call("size", self._part.settings.output_size, size)
            shape = (len(image), "3 or 4", height, width)
            self._check(fault_of(result, shape, self._host.device))
        return result


class CheckedLoss(CheckedPart):
    """Checks the number."""

    arguments = ("view",)

    def __call__(self, view: Any) -> Tensor:
        """The instance's loss, checked."""
        image: Tensor = view.image
        raw: Tensor | None = getattr(view, "raw", None)
        handed = self._handed("call", **{"view.image": image, "view.raw": raw})
        value: Tensor = self._call("call", self._instance, view)
        self._check_handed(handed)
        if self._is_new("value", value):
            self._check_number(value)
        constant = torch.is_grad_enabled() and image.requires_grad and not value.requires_grad
        if constant and bool(value != 0):  # a loss that compares frames gives 0 for the first
            self._fail(
                "gave a number without a gradient; compute it from view.image or "
                "view.embedding(...) without detach(), .item() or no_grad()"
            )
        return value

    def _check_number(self, value: Any) -> None:
        plain = isinstance(value, Tensor) and value.layout is torch.strided
        if not plain or value.ndim or not value.is_floating_point():
            self._fail(not_a(value, "a scalar tensor, [] float32, such as x.mean()"))
        if not torch.isfinite(value.detach()):
            self._fail(f"gave {value.item()}; it must give a finite number")


class CheckedExporter(CheckedPart):
    """Checks that the files are there, in the run folder, and frames are left as they are."""

    required = ("write", "close", "abort")
    guarded = frozenset({"abort"})

    def __init__(self, part: Part, instance: Any, host: Host, folder: Path) -> None:
        super().__init__(part, instance, host)
        self._folder = folder

    def write(self, frame: Frame) -> None:
        """Let the instance write a frame, which it must not change."""
        shown = vars(frame).get("image")  # not computed for exporters that do not need it
        handed = self._handed("write", **{"frame.raw": frame.raw, "frame.image": shown})
        self._call("write", self._instance.write, frame)
        self._check_handed(handed)

    def close(self) -> list[Path]:
        """The paths of the instance's files, checked."""
        given = self._call("close", self._instance.close)
        if not isinstance(given, (list, tuple)) or not all(
            isinstance(path, (str, Path)) for path in given
        ):
            self._fail(f"{not_a(given, 'the list of the paths that it wrote')} from close()")
        return [self._checked_path(Path(path)) for path in given]

    def _checked_path(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self._folder.resolve()):
            self._fail(f"wrote '{path}', which is outside the run folder; write below run.folder")
        if not path.exists():
            self._fail(f"gave '{path}' from close(), which does not exist; give what it wrote")
        return path


class CheckedClassifier(CheckedPart):
    """Checks the scores."""

    required = ("labels", "size")
    arguments = ("images",)

    def __call__(self, images: Tensor) -> Scores:
        """The instance's scores of images, checked."""
        handed = self._handed("call", images=images)
        scores = self._call("call", self._instance, images)
        self._check_handed(handed)
        return self._checked_scores(scores, len(images))

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if name != "judge" or value is None:
            return value

        def judge(vectors: Tensor) -> Scores:
            return self._checked_scores(self._call("judge", value, vectors), len(vectors))

        return judge

    def _checked_scores(self, scores: Any, count: int) -> Scores:
        if not isinstance(scores, Scores):
            self._fail(not_a(scores, "pixweave.Scores(values), values [N, L] in 0..1"))
        device, shape = self._host.device, (count, len(self._instance.labels))
        if self._is_new("values", scores.values) or tuple(scores.values.shape) != shape:
            for values, wanted, within in (
                (scores.values, shape, UNIT),
                (scores.logits, shape, None),
                (scores.known, shape[:1], UNIT),
            ):
                if values is not None:
                    self._check(fault_of(values, wanted, device, dtype=None, within=within))
        return scores


class CheckedSampler(CheckedPart):
    """Checks the sampled image."""

    required = ("sample",)

    def sample(self, prompts: Sequence[tuple[str, float]], rng: torch.Generator) -> Tensor:
        """The instance's image for texts, checked."""
        image: Tensor = self._call("sample", self._instance.sample, prompts, rng)
        self._check(fault_of(image, (1, 3, "S", "S"), self._host.device, within=UNIT))
        return image


class CheckedCodec(CheckedPart):
    """Checks latents, codes and decoded images."""

    required = ("codebook", "factor", "encode", "nearest", "look_up", "decode")

    def encode(self, images: Tensor) -> Tensor:
        """The instance's latents of images, checked."""
        latents: Tensor = self._call("encode", self._instance.encode, images)
        height, width = (side // self._instance.factor for side in images.shape[-2:])
        self._check_new("encode", latents, (len(images), "D", height, width))
        return latents

    def nearest(self, latents: Tensor) -> Tensor:
        """The instance's codes of latents, checked."""
        codes: Tensor = self._call("nearest", self._instance.nearest, latents)
        shape = (len(latents), *latents.shape[-2:])
        if not isinstance(codes, Tensor) or codes.dtype != torch.int64 or codes.shape != shape:
            self._fail(not_a(codes, f"{shape_text(shape)} int64 from nearest"))
        return codes

    def look_up(self, codes: Tensor) -> Tensor:
        """The instance's latents of codes, checked."""
        latents: Tensor = self._call("look_up", self._instance.look_up, codes)
        self._check_new("look_up", latents, (len(codes), "D", *codes.shape[-2:]))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """The instance's images of latents, checked."""
        images: Tensor = self._call("decode", self._instance.decode, latents)
        height, width = (side * self._instance.factor for side in latents.shape[-2:])
        self._check_new("decode", images, (len(latents), 3, height, width))
        self._check_gradient(latents, images, "images")
        return images

    def _check_new(self, method: str, value: Any, shape: tuple[int | str, ...]) -> None:
        if self._is_new(method, value) and (
            fault := fault_of(value, shape, self._host.device, dtype=None)
        ):
            self._fail(f"{fault} from {method}")


KINDS: Mapping[str, type[CheckedPart]] = {
    "generator": CheckedGenerator,
    "perceptor": CheckedPerceptor,
    "augmentation": CheckedAugmentation,
    "filter": CheckedFilter,
    "loss": CheckedLoss,
    "classifier": CheckedClassifier,
    "sampler": CheckedSampler,
    "codec": CheckedCodec,
}


def checked(part: Part, instance: Any, host: Host, folder: Path) -> Any:
    """The instance that a component's `build(run)` returned, guarded and checked."""
    if part.kind == "exporter":
        return CheckedExporter(part, instance, host, folder)
    kind = KINDS.get(part.kind)
    return instance if kind is None else kind(part, instance, host)
