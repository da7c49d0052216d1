"""Compare seconds per iteration and peak memory of pixweave's loop with a plain reference.

    python benchmarks/loop.py                     # all sides, 7 rounds, 1 thread
    python benchmarks/loop.py --threads 2 --json
    python benchmarks/loop.py --sides reference ours --rounds 15

Each side runs in its own process; they take turns, an iteration each, so that a busy machine slows
all of them equally. Every side has the same ViT-B/32 with the same random weights, a 256 px image
of 64x64 cells, 30 crops with Pixray's statistics and one prompt. `reference` is
benchmarks/reference.py; `ours` is a recipe run by `pixweave.generate` in float32, `ours-bf16` the
same with precision: bfloat16; `reference-bf16` casts the reference's image tower too. `ours-mkl` is
`ours` with torch's own float32 matrix products instead of oneDNN's, to separate the two gains. No
files are written.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
SIDES = ("reference", "reference-bf16", "ours", "ours-mkl", "ours-bf16")
MODEL, PROMPT, SIDE, CELLS, CROPS = "ViT-B-32", "a red fox", 256, 64, 30
RECIPE = f"""
pixweave: 1
seed: 7
size: [{SIDE}, {SIDE}]
steps: 100000
device: cpu
presets: [pixray]
crops: {{count: {CROPS}}}
generator: {{use: pixel, grid: [{CELLS}, {CELLS}], coarsest: {CELLS}}}
perceptors: [{{use: open_clip, model: {MODEL}, pretrained: random}}]
prompts: [{PROMPT}]
export: []
"""


# ------------------------------------------------------------------------------------- the sides


def load_recipe(precision: str) -> Any:
    import pixweave

    text = RECIPE + f"precision: {precision}\n"
    return pixweave.load_text(text, "loop.yaml", Path(), pixweave.Plugins.discover())


def load_run(precision: str) -> Any:
    """Return the run of our side, built from a recipe."""
    import pixweave

    return pixweave.open_run(load_recipe(precision))


def load_reference(dtype_name: str) -> Any:
    """Return the reference, with the weights that `pretrained: random` gives our side."""
    import torch
    from pixweave_openclip import load_weights as weights
    from reference import Reference

    from pixweave.engine.rng import seed_of

    torch.manual_seed(seed_of(load_recipe("float32").seed, "build/perceptor/open_clip"))
    model: Any = weights.load(MODEL, "random")
    tokens = weights.tokenizer(MODEL)([PROMPT])
    return Reference(model, tokens, SIDE, CELLS, CROPS, getattr(torch, dtype_name))


def start_ours(precision: str) -> dict[str, Callable[[], Any]]:
    import torch

    import pixweave

    run = load_run(precision)
    frames = pixweave.generate(run)
    noise = torch.randn(CROPS, 3, 224, 224)

    def crops() -> None:
        run.look(0).crops("open_clip").backward(noise)

    return {"step": lambda: next(frames), "crops": crops}


def start_reference(dtype_name: str) -> dict[str, Callable[[], Any]]:
    import torch

    side = load_reference(dtype_name)
    noise = torch.randn(CROPS, 3, 224, 224)
    steps = iter(range(10**9))

    def crops() -> None:
        side.cutouts(side.image(), 0).backward(noise)

    return {"step": lambda: side.step(next(steps)), "crops": crops}


def serve(side: str, threads: int) -> None:
    """Run the task that each line from the parent names; answer with a line of JSON."""
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
    import torch

    torch.set_num_threads(threads)
    if side == "ours-mkl":
        from pixweave_openclip import fast_vision_tower

        fast_vision_tower.onednn_is_faster = lambda: False  # type: ignore[assignment]
    if side.startswith("ours"):
        work = start_ours("bfloat16" if side.endswith("bf16") else "float32")
    else:
        work = start_reference("bfloat16" if side.endswith("bf16") else "float32")
    answer_each(work)


def answer_each(work: dict[str, Callable[[], Any]]) -> None:
    """Report that loading is done; then run the task named by each line of stdin and time it."""
    say({"loaded_mb": rss()})
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        work[line.strip()]()
        say(
            {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak_mb": rss()}
        )


def rss() -> float:
    """Return the peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(answer: dict[str, float]) -> None:
    print(json.dumps(answer), flush=True)


# ------------------------------------------------------------------------------------- equality


def compare(threads: int) -> None:
    """Report how far the two differ where they compute the same; runs in its own process."""
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
    import torch

    torch.set_num_threads(threads)
    say({**compare_towers(), **compare_samplers()})


def compare_towers() -> dict[str, float]:
    """Encode the same crops with both towers: compare vectors and gradients of the crops."""
    import torch

    run, reference = load_run("float32"), load_reference("float32")
    target = run.perceptors["open_clip"].encode_text([PROMPT])
    assert torch.equal(target, reference.target), "the two have different weights"
    crops = torch.rand(CROPS, 3, 224, 224, generator=run.rng("crops")).requires_grad_()
    results = []
    for encode in (run.perceptors["open_clip"].encode_image, reference.encode):
        vectors = encode(crops)
        loss = ((vectors - reference.target).norm(dim=-1) / 2).arcsin().square().mean()
        results.append((vectors.detach(), torch.autograd.grad(loss, crops)[0]))
    (vectors, gradient), (their_vectors, their_gradient) = results
    return {
        "tower_output": apart(vectors, their_vectors),
        "tower_gradient": apart(gradient, their_gradient),
    }


def compare_samplers() -> dict[str, float]:
    """Apply the same homographies with `engine.crops` and kornia: compare crops and gradients.

    The warps neither shrink the image (ours would read a downscaled copy of it) nor leave it.
    """
    import torch
    from kornia.geometry.transform import warp_perspective

    from pixweave.engine.crops import cut_crops, plan_crops
    from pixweave.recipe import Moment
    from pixweave.recipe.sections import CropSettings

    rng = torch.Generator().manual_seed(3)
    settings = CropSettings(
        count=CROPS, zoomed=1, area=(0.2, 0.6), perspective=(0.2, 0), padding="border"
    )
    plan = plan_crops(settings, Moment(0, 10, 24.0, {}), 1.0, rng)
    image = torch.rand(1, 3, 224, 224, generator=rng).requires_grad_()
    to_unit = torch.tensor([[2 / 224, 0, 1 / 224 - 1], [0, 2 / 224, 1 / 224 - 1], [0, 0, 1]])
    pixels = torch.linalg.inv(to_unit) @ plan.warps @ to_unit  # crop pixel -> image pixel
    ours = cut_crops(image, plan, 224)
    theirs = warp_perspective(
        image.expand(CROPS, -1, -1, -1),
        torch.linalg.inv(pixels),
        (224, 224),
        padding_mode="border",
        align_corners=True,
    )
    noise = torch.randn(ours.shape, generator=rng)
    gradients = [torch.autograd.grad(t, image, noise)[0] for t in (ours, theirs)]
    return {"sampler_output": apart(ours, theirs), "sampler_gradient": apart(*gradients)}


def apart(one: Any, other: Any) -> float:
    """Return the relative difference of two tensors."""
    return float(((one - other).norm() / other.norm()).detach())


# ------------------------------------------------------------------------------------- the parent


class Side:
    """One side, running in its own process."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.child = launch("--serve", name, threads)
        self.loaded_mb = self.answer()["loaded_mb"]
        self.peak_mb = 0.0

    def ask(self, what: str) -> dict[str, float]:
        """Run one task there; return its seconds (`wall`, `cpu`) and peak memory."""
        print(what, file=stream(self.child.stdin), flush=True)
        return self.answer()

    def answer(self) -> dict[str, float]:
        line = stream(self.child.stdout).readline()
        if not line:
            sys.exit(f"side {self.name} died; see above")
        return json.loads(line)  # type: ignore[no-any-return]

    def close(self) -> None:
        stream(self.child.stdin).close()
        self.child.wait()


def stream(pipe: Any) -> TextIO:
    assert pipe is not None
    return pipe  # type: ignore[no-any-return]


def launch(task: str, name: str, threads: int) -> subprocess.Popen[str]:
    """Start this script again as a child process that computes with `threads` threads."""
    command = [sys.executable, sys.argv[0], task, name, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def measure(
    names: list[str], rounds: int, threads: int, tasks: Sequence[str] = ("step", "crops")
) -> dict[str, dict[str, float]]:
    """Return the median seconds of each task and the peak memory after `step`, for each side."""
    sides = [Side(name, threads) for name in names]
    results: dict[str, dict[str, float]] = {side.name: {} for side in sides}
    for what in tasks:
        for side in sides:
            side.ask(what)  # warm up: libraries, allocator
        taken: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                taken[side.name].append(side.ask(what))
        for name, answers in taken.items():
            for clock in ("wall", "cpu"):
                results[name][f"{what}_{clock}"] = median(a[clock] for a in answers)
            if what == "step":
                results[name]["peak_mb"] = answers[-1]["peak_mb"]
    for side in sides:
        results[side.name]["loaded_mb"] = side.loaded_mb
        side.close()
    return results


def equality(threads: int) -> dict[str, float]:
    child = launch("--compare", "all", threads)
    out, _ = child.communicate()
    return json.loads(out.splitlines()[-1]) if child.returncode == 0 else {}


def table(
    results: dict[str, dict[str, float]],
    equal: dict[str, float],
    tasks: Sequence[str] = ("step", "crops"),
) -> str:
    base = results.get("reference") or next(iter(results.values()))
    heads = [f"{f'{task} s':>11}{'cpu s':>9}{'faster':>9}" for task in tasks]
    lines = [f"{'side':15}{''.join(heads)}{'peak MB':>9}"]
    for name, r in results.items():
        cells = [
            f"{r[f'{task}_wall']:11.3f}{r[f'{task}_cpu']:9.3f}"
            f"{base[f'{task}_cpu'] / r[f'{task}_cpu']:8.2f}x"
            for task in tasks
        ]
        lines.append(f"{name:15}{''.join(cells)}{r['peak_mb']:9.0f}")
    lines.append("medians; 'faster' compares cpu seconds")
    lines.append("relative difference of the two where they compute the same:")
    lines += [f"  {name.replace('_', ' ')}: {value:.1e}" for name, value in equal.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--compare", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve, args.threads)
    if args.compare:
        return compare(args.threads)
    equal = equality(args.threads)
    results = measure(args.sides, args.rounds, args.threads)
    if args.json:
        return print(json.dumps({"threads": args.threads, "sides": results, "apart": equal}))
    print(table(results, equal))
    return None


if __name__ == "__main__":
    main()
