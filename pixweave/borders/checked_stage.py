"""CheckedStage: a stage as the host sees it, step by step: guarded, and its events checked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from pixweave.borders.checked_part import CheckedPart
from pixweave.borders.wording import describe, not_a
from pixweave.events import Event


class CheckedStage(CheckedPart):
    """Runs a stage; `pictures` holds what it returned, once its events are exhausted."""

    arguments = ("pictures",)
    pictures: list[str]

    def events(self, pictures: Sequence[str]) -> Generator[Event, None, None]:
        """The events of the stage, checked."""
        running = self._call("start", self._instance, pictures)
        if not hasattr(running, "__next__"):
            self._fail(not_a(running, "events: it must be a generator function, with yield"))
        try:
            while True:
                event, returned = self._call("next", _advance, running)
                if returned is not None:
                    self.pictures = self._checked_pictures(returned[0])
                    return
                if not isinstance(event, Event):
                    self._fail(not_a(event, "pixweave.Event objects"))
                yield event
        finally:
            if hasattr(running, "close"):
                self._call("close", running.close)

    def _checked_pictures(self, pictures: Any) -> list[str]:
        listed = pictures if pictures is not None else ()
        if isinstance(listed, str) or not isinstance(listed, Sequence):
            self._fail(f"returned {describe(listed)}; it must return the paths of its images")
        if not all(isinstance(path, str) for path in listed):
            wrong = next(path for path in listed if not isinstance(path, str))
            self._fail(f"returned {describe(wrong)} as a path; it must return texts: str(path)")
        return list(listed)


def _advance(running: Iterator[Any]) -> tuple[Any, tuple[Any] | None]:
    """The next event and None; at the end None and what the generator returned, in a tuple."""
    try:
        return next(running), None
    except StopIteration as end:
        return None, (end.value,)
