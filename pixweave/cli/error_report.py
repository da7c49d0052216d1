"""How errors are reported: as text on stderr, or with --json as a result event on stdout."""

from __future__ import annotations

import json
from typing import Any

import click

from pixweave.errors import PixweaveError, RecipeError, RunError


class InterruptError(PixweaveError):
    """Ctrl-C."""

    exit_code = 130
    code = "interrupted"


class UnexpectedError(PixweaveError):
    """An error that pixweave should have prevented or explained."""

    code = "unexpected"

    @classmethod
    def of(cls, error: BaseException) -> UnexpectedError:
        """The error with its place, and the original as its cause."""
        from pixweave.borders.guard import describe_error

        known = cls(
            f"unexpected error: {describe_error(error, core=True)}; "
            "run the command again with --debug to see the traceback"
        )
        known.__cause__ = error
        return known


def report(error: PixweaveError, as_json: bool) -> None:
    """Print an error: as text on stderr, or with --json as one object on stdout."""
    if not as_json:
        prefix = "" if isinstance(error, (RecipeError, InterruptError)) else "pixweave: "
        click.echo(f"{prefix}{error}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(f"  {note}", err=True)
        return
    fields: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, RecipeError):
        fields["problems"] = [
            {
                "file": issue.where.source,
                "line": issue.where.line,
                "column": issue.where.column,
                "message": issue.message,
                "hint": issue.hint,
            }
            for issue in error.issues
        ]
    try:
        click.echo(json.dumps({"event": "result", "ok": False, "error": fields}))
    except OSError:  # stdout may be what failed
        click.echo(f"pixweave: {error}", err=True)


def of_stdout(error: BaseException) -> RunError | None:
    """The error of a stdout that cannot be written to; None if another file failed."""
    if not isinstance(error, OSError):
        return None
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code is not click.echo.__code__:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_locals.get("err"):
        return None
    return RunError(f"cannot write to stdout: {error.strerror}")
