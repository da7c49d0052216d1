"""Compare seconds of a VQGAN iteration, and of its decoder alone, with a plain implementation.

    python benchmarks/vqgan.py                    # all sides, 5 rounds, 1 thread
    python benchmarks/vqgan.py --sides reference ours --rounds 9 --json

Like benchmarks/loop.py, with a VQGAN of the size of vqgan_imagenet_f16_16384 instead of pixels:
16x16 codes, 256 px, random weights, the same file for all sides. `reference` works like VQGAN+CLIP:
taming's own quantiser (one-hot) and decoder, eager, with frozen weights, then the plain loop of
benchmarks/reference.py. `ours` is a recipe run by `pixweave.generate` in float32, `ours-bf16` the
same with precision: bfloat16. `decode` is decoder forward and backward with respect to the latents,
in a fresh process. `again` is the same after several whole iterations, when the C library keeps
large blocks of memory: until then it returns them to the system at once, and a third of taming's
time is spent on requesting them again. No files remain; the weights take 300 MB in the temporary
folder during the run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loop

SIDES = ("reference", "ours", "ours-bf16")
TASKS = ("decode", "step", "again")
CODES = 16
PARAMS: dict[str, Any] = {
    "embed_dim": 256,
    "n_embed": 16384,
    "ddconfig": {
        "double_z": False,
        "z_channels": 256,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 1, 2, 2, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [16],
        "dropout": 0.0,
    },
}
FILE = "PIXWEAVE_BENCHMARK_VQGAN"


def write_weights(path: Path) -> None:
    """Write random weights and their config, in taming's layout."""
    import torch
    import yaml
    from pixweave_vqgan.model_config import VQ
    from pixweave_vqgan.vqgan_model import VQModel

    torch.manual_seed(0)
    torch.save({"state_dict": VQModel(PARAMS).state_dict()}, path)
    config = {"model": {"target": VQ, "params": PARAMS}}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config), "utf-8")


def load_run(precision: str) -> Any:
    """Return the run of our side, built from a recipe."""
    import pixweave

    generator = f"{{use: vqgan, start: noise, weights: '{os.environ[FILE]}'}}"
    lines = loop.RECIPE.splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("generator:"))
    lines[place] = f"generator: {generator}\nprecision: {precision}"
    plugins = pixweave.Plugins.discover()
    return pixweave.open_run(pixweave.load_text("\n".join(lines), "vqgan.yaml", Path(), plugins))


def load_reference() -> Any:
    """Return the plain side."""
    import torch
    from pixweave_openclip import load_weights as weights
    from pixweave_vqgan.vqgan_model import load_vqgan
    from reference import Reference
    from taming.modules.vqvae.quantize import VectorQuantizer

    # taming's own memory layout: contiguous, not channels-last
    model: Any = load_vqgan(Path(os.environ[FILE])).to(memory_format=torch.contiguous_format)
    quantizer = VectorQuantizer(PARAMS["n_embed"], PARAMS["embed_dim"], beta=0.25)
    quantizer.embedding.weight = model.quantize["embedding"].weight

    class Vqgan(Reference):
        """The plain loop, with latents instead of colours."""

        def decode(self, latent: Any) -> Any:
            return model.decoder(model.post_quant_conv(latent)) / 2 + 0.5

        def image(self) -> Any:
            return self.decode(quantizer(self.grid)[0]).clamp(0, 1)

        def constrain(self) -> None:
            book = model.codebook
            low, high = (edge[:, None, None] for edge in book.aminmax(dim=0))
            with torch.no_grad():
                self.grid.copy_(self.grid.maximum(low).minimum(high))

    torch.manual_seed(1)
    clip: Any = weights.load(loop.MODEL, "random")
    tokens = weights.tokenizer(loop.MODEL)([loop.PROMPT])
    side = Vqgan(clip, tokens, loop.SIDE, CODES, loop.CROPS)
    side.grid = torch.randn(1, PARAMS["embed_dim"], CODES, CODES).requires_grad_()
    side.optimizer = torch.optim.Adam([side.grid], lr=0.1)
    return side


def start(side: str) -> dict[str, Callable[[], Any]]:
    """Return the tasks of a side, by name."""
    import torch

    import pixweave

    if side == "reference":
        plain, steps = load_reference(), iter(range(10**9))
        decode, step = plain.decode, lambda: plain.step(next(steps))
    else:
        run = load_run("bfloat16" if side.endswith("bf16") else "float32")
        frames = pixweave.generate(run)
        decode, step = run.generator.decode, lambda: next(frames)
    part = lambda: there_and_back(decode, torch.device("cpu"))  # noqa: E731
    return {"step": step, "decode": part, "again": part}


def there_and_back(decode: Any, device: Any) -> tuple[Any, Any]:
    """Return the image of random latents, and the gradient of a weighted sum of its pixels."""
    import torch

    rng = torch.Generator().manual_seed(2)
    latent = torch.randn(1, PARAMS["embed_dim"], CODES, CODES, generator=rng).to(device)
    picture = decode(latent.requires_grad_())
    weights = torch.randn(picture.shape, generator=rng).to(device)
    return picture.detach(), torch.autograd.grad(picture, latent, weights)[0]


def compare() -> dict[str, float]:
    """Return how far our decoder differs from taming's, in the same process."""
    import torch

    cpu = torch.device("cpu")
    theirs = there_and_back(load_reference().decode, cpu)
    ours = there_and_back(load_run("float32").generator.decode, cpu)
    return {
        "decoder_most_absolute": float((ours[0] - theirs[0]).abs().max()),
        "decoder_output": loop.apart(ours[0], theirs[0]),
        "decoder_gradient": loop.apart(ours[1], theirs[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--compare", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path[:0] = [str(loop.ROOT), str(loop.ROOT / "plugins")]
    import torch

    torch.set_num_threads(args.threads)
    if args.serve:
        return loop.answer_each(start(args.serve))
    if args.compare:
        return loop.say(compare())
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FILE] = str(Path(folder, "f16.ckpt"))
        write_weights(Path(os.environ[FILE]))
        equal = loop.equality(args.threads)
        results = loop.measure(args.sides, args.rounds, args.threads, TASKS)
    if args.json:
        return print(json.dumps({"threads": args.threads, "sides": results, "apart": equal}))
    return print(loop.table(results, equal, TASKS))


if __name__ == "__main__":
    main()
