"""Download a file from the Hugging Face hub with its client library."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from pixweave.models.catalogue import HUB
from pixweave.models.fetch import FULL, Fault, Limits, Report, writing


def fetch(address: str, part: Path, report: Report, limits: Limits) -> None:
    """Download hf://OWNER/NAME[@REVISION]/FILE to `part`; the client resumes partial downloads.

    The endpoint is HF_ENDPOINT, the token HF_TOKEN. Fault if the hub did not deliver the file;
    RunError if the disk is full.
    """
    from huggingface_hub import errors, hf_hub_download

    repo, revision, name = parse(address)
    folder = part.with_name(part.name + ".hub")
    try:
        found = hf_hub_download(
            repo,
            name,
            revision=revision,
            local_dir=folder,
            endpoint=os.environ.get("HF_ENDPOINT") or None,
            etag_timeout=limits.connect,
            tqdm_class=_bar(report),
        )
        os.replace(found, part)
        shutil.rmtree(folder)
    except errors.GatedRepoError:
        raise Fault(
            f"the hub requires a login for '{repo}': accept its terms, set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise Fault(f"the hub has no '{repo}', or it is private: set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise Fault(f"'{repo}' has no revision '{revision}'") from None
    except errors.LocalEntryNotFoundError as error:
        raise Fault(f"the hub does not answer: {_short(error.__cause__ or error)}") from None
    except errors.EntryNotFoundError:
        raise Fault(f"'{repo}' has no file '{name}'") from None
    except errors.OfflineModeIsEnabled:
        raise Fault("the hub's client is offline (HF_HUB_OFFLINE)") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            with writing(part):
                raise
        raise Fault(_short(error)) from None


def parse(address: str) -> tuple[str, str | None, str]:
    """Repository, revision and file of an hf:// address."""
    owner, name, file = address.removeprefix(HUB).split("/", 2)
    name, _, revision = name.partition("@")
    return f"{owner}/{name}", revision or None, file


def _short(error: BaseException) -> str:
    first = re.sub(r"\s+", " ", str(error).strip().split("\n", 1)[0])
    return first[:200] or type(error).__name__


def _bar(report: Report) -> type[Any]:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Silent(tqdm):
        """A progress bar for the client that shows nothing and calls `report`."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})
            self.seen, self.whole = options.get("initial") or 0, options.get("total")
            report(self.seen, self.whole)

        def update(self, n: float | None = 1) -> bool | None:
            self.seen += int(n or 0)
            report(self.seen, self.whole)
            return None

    return Silent
