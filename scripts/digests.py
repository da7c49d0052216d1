"""Record or compare what every built-in recipe resolves to and draws in three steps.

    python scripts/digests.py            write tests/digests.json
    python scripts/digests.py FILE       compare with FILE; exits with 1 if a recipe differs

`resolved` is the digest of the resolved recipe, `frames` that of all frames as 8-bit pixels, and
`thumbnail` the last frame at 4 x 4 pixels. The last bits of pixels depend on the processor: compare
`frames` only on the same machine, with the same number of threads.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from pixweave import Event, Plugins, Recipe, load, perform

ROOT = Path(__file__).parent.parent
RECIPES = sorted(p for p in (ROOT / "recipes").rglob("*.yaml") if "presets" not in p.parts)
FILE = ROOT / "tests" / "digests.json"
STEPS = 3


def shortened(path: Path, folder: Path) -> list[str]:
    """Return the `--set` changes that make a recipe fast and avoid downloads."""
    sets = ["device=cpu", "precision=float32"]
    if path.stem != "found":
        sets += [f"steps={STEPS}", "crops.count=4"]
    if path.stem == "candidates":
        sets += ["stages.0.seeds=2", "stages.1.keep=1"]
    if path.stem == "album":
        sets += ["stages.0.seeds=2", "stages.2.top=2", f"stages.1.index={folder / 'album'}"]
    if path.stem == "judges":
        sets += ["perceptors.1.pretrained=random", "perceptors.1.model=ViT-S-32-alt"]
    return sets


def resolved(recipe: Recipe, folder: Path) -> str:
    """Return the digest of a resolved recipe, independent of its location and its run folder."""
    text = json.dumps(recipe.resolved(), sort_keys=True)
    text = text.replace(str(folder), "OUT").replace(str(ROOT), "ROOT")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest(path: Path) -> dict[str, Any]:
    """Return what one recipe resolves to and draws: `resolved`, `frames` and `thumbnail`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = load([path], Plugins.discover(), shortened(path, folder))
        return {"resolved": resolved(recipe, folder), **drawn(perform(recipe, folder))}


def drawn(events: Iterable[Event]) -> dict[str, Any]:
    """Return the digest of the frames of a run, and a thumbnail of the last one."""
    pixels, last = hashlib.sha256(), None
    for event in events:
        if event.kind == "step" and event.frame is not None:
            last = event.frame.image.detach()
            pixels.update((last.clamp(0, 1) * 255).round().byte().numpy().tobytes())
    if last is None:
        return {}
    small = interpolate(last[:, :3], (4, 4), mode="area")[0]
    return {
        "frames": pixels.hexdigest()[:16],
        "thumbnail": (small * 255).round().int().flatten().tolist(),
    }


def main() -> None:
    """Write tests/digests.json, or compare with the file that is given."""
    torch.set_num_threads(1)
    found = {path.stem: digest(path) for path in RECIPES}
    if len(sys.argv) < 2:
        lines = [f'  "{name}": {json.dumps(entry)}' for name, entry in found.items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
        return
    before = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    differ = {
        name: key
        for name in {**before, **found}
        for key in ("resolved", "frames")
        if before.get(name, {}).get(key) != found.get(name, {}).get(key)
    }
    for name, key in differ.items():
        print(f"{name}: {key} differs")
    print(f"{len(found) - len(differ)} of {len(found)} recipes resolve and draw the same bytes")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
