"""How `pixweave train vqgan` trains: Esser et al. 2021, made small and sparing.

- The codebook follows the latents by moving averages (van den Oord et al. 2017, appendix). It
  begins as k-means of the latents of an autoencoder that was trained a little; a code that is
  hardly used is moved to a latent that its nearest code fits badly.
- The perceptual loss looks with the embedded CLIP, at the whole picture and at a crop.
- The discriminator's weight is adaptive as in the paper, but measured where the picture comes out
  and not at the last layer: one walk back through the decoder instead of three.
- Some pictures are decoded from latents that are not quantised, and noisy, and from some codes that
  were replaced: what CLIP will ask for later are codes that no picture ever gave.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import Tensor
from torch.nn import functional as F

from pixweave_vqgan.codebook_ema import Codebook
from pixweave_vqgan.model_config import VQ
from pixweave_vqgan.perceptual_loss import PerceptualLoss
from pixweave_vqgan.vqgan_model import VQModel
from pixweave_vqgan.weight_init import architecture, initialise

if TYPE_CHECKING:
    from pixweave.train import TrainContext
    from pixweave_vqgan.vqgan_settings import VqganTrainer

SEEN = 1024  # pictures that `measure` looks at, at most


class VqganTraining:
    """A VQGAN under training; see `pixweave.protocols.Training`."""

    def __init__(self, settings: VqganTrainer, run: TrainContext) -> None:
        self.set, self.run, self.device = settings, run, run.device
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            self.model = VQModel(architecture(settings))
            initialise(self.model)
            self.critic = NLayerDiscriminator(ndf=32, n_layers=2).apply(weights_init)
        for part in (self.model, self.critic):
            part.to(self.device).to(memory_format=torch.channels_last)
        self.model.quantize.requires_grad_(False)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, betas=(0.9, 0.99), weight_decay=1e-4)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), betas=(0.5, 0.9))
        self.book = Codebook(self.model.codebook, self.average.codebook)
        self.perceptual_loss: PerceptualLoss | None = None
        if settings.perceptual:
            self.perceptual_loss = PerceptualLoss(run.make(settings.perceptor))

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; psnr in dB and the share of codes in use are of this batch."""
        wish, done = self.set, step / max(self.run.steps, 1)
        rng = torch.Generator().manual_seed(self.run.seed * 1_000_003 + step)
        self._set_rate(step)
        images = self._batch(step)
        quantised = done >= wish.warm
        if quantised and not self.book.ready:
            self.book.begin(self._many_latents(), rng)
        with self._autocast():
            latent = self.model.encode(images).float()
            fit, result = latent, latent
            if quantised:
                codes = self.model.nearest(latent)
                fit = self.model.look_up(codes)
                result = self._disturb(latent, latent + (fit - latent).detach(), codes, rng)
            made = self.model.decode(result).float()
        commitment = F.mse_loss(latent, fit.detach())
        seen = made.detach().requires_grad_()
        likeness, metrics = self._likeness(seen, images, rng)
        (slope,) = torch.autograd.grad(likeness, seen)
        if wish.adversarial and done >= wish.adversarial_start:
            slope = slope + self._adversarial(seen, slope, images, metrics)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([made, wish.commitment * commitment], [slope, None])
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self._average(step)
        if quantised:
            self.book.follow(latent.detach(), codes)
            if done < 0.9:
                metrics["moved"] = float(self.book.restart(latent.detach(), wish.restart, rng))
            metrics["used"] = len(codes.unique()) / wish.codes
        metrics["psnr"] = -10 * math.log10(max(F.mse_loss(seen, images).item(), 1e-10))
        return {"loss": likeness.item(), "commitment": commitment.item(), **metrics}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """Of held-out pictures: PSNR (dB), L1 (0..1), share of codes in use, their perplexity."""
        rows = self.run.dataset.held[:SEEN]
        noise, error, counts = [], 0.0, torch.zeros(self.set.codes)
        for part in np.array_split(rows, math.ceil(len(rows) / 64)):
            images = self.run.dataset.images(part).to(self.device)
            made, codes = self._rebuild(images)
            noise += (made - images).square().mean((1, 2, 3)).tolist()
            error += (made - images).abs().mean((1, 2, 3)).sum().item()
            counts += torch.bincount(codes.flatten().cpu(), minlength=self.set.codes)
        share = counts / counts.sum()
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        return {
            "psnr": float(np.mean([-10 * math.log10(max(each, 1e-10)) for each in noise])),
            "l1": error / len(rows),
            "used": (counts > 0).float().mean().item(),
            "perplexity": entropy.exp().item(),
        }

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Held-out pictures, each followed by its reconstruction, `[32,3,S,S]`."""
        data = self.run.dataset
        rows = data.held if len(data.held) else data.train
        images = data.images(rows[:16]).to(self.device)
        made, _ = self._rebuild(images)
        return torch.stack([images, made], 1).flatten(0, 1).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, their average, the critic, both optimizers, the codebook's counts."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "book": self.book.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.book.load_state_dict(state["book"])

    def save(self, path: Path) -> None:
        """Write the averaged weights (float16, taming's keys) and beside them taming's config."""
        weights = {
            key: value.half().contiguous().cpu() for key, value in self.average.state_dict().items()
        }
        torch.save({"state_dict": weights}, path)
        described = {
            "model": {
                "base_learning_rate": self.set.lr,
                "target": VQ,
                "params": {
                    **self.model.params,
                    "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
                },
            }
        }
        path.with_suffix(".yaml").write_text(yaml.safe_dump(described, sort_keys=False), "utf-8")

    def _set_rate(self, step: int) -> None:
        rate = self.set.lr * self.run.cosine(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for group in self.critic_optimizer.param_groups:
            group["lr"] = rate * 0.5

    def _batch(self, step: int) -> Tensor:
        """The pictures `[B,3,S,S]` of a step."""
        rng = np.random.default_rng((self.run.seed, step))
        rows = np.sort(rng.choice(self.run.dataset.train, self.set.batch))
        images = self.run.dataset.images(rows).to(self.device)
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _many_latents(self) -> Tensor:
        """Latents `[N,D]` of a few thousand places, at most, that the codebook can begin with."""
        found, wanted, step = [], 16 * self.set.codes, -1
        while wanted > 0 and step > -65:
            step -= 1
            with self._autocast():
                latent = self.model.encode(self._batch(-step + self.run.steps)).float()
            found.append(latent.permute(0, 2, 3, 1).flatten(0, 2))
            wanted -= len(found[-1])
        return torch.cat(found)

    def _disturb(
        self, latent: Tensor, result: Tensor, codes: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Latents as a generator may come to: between the codes, or with some of them replaced."""
        wish = self.set
        lot = torch.rand(len(codes), 1, 1, 1, generator=rng)
        spread = torch.rand(len(codes), 1, 1, 1, generator=rng) * 0.5
        noise = torch.randn(latent.shape, generator=rng) * spread
        other = torch.randint(0, wish.codes, codes.shape, generator=rng)
        where = torch.rand(codes.shape, generator=rng) < 0.05
        lot, noise, other, where = (t.to(self.device) for t in (lot, noise, other, where))
        deviation = (latent - result).detach().square().mean().sqrt()
        result = torch.where(lot < wish.loose, latent + noise * deviation * 2, result)
        swapped = torch.where(where[:, None], self.model.look_up(other), result)
        return torch.where(lot > 1 - wish.swap, swapped, result)

    def _likeness(
        self, made: Tensor, images: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """How far the pictures are from the originals, as one number, and its parts."""
        wish = self.set
        apart = F.l1_loss(made, images) + F.mse_loss(made, images)
        # the colours of large areas, which are learnt last otherwise
        apart = apart + F.l1_loss(F.avg_pool2d(made, 8), F.avg_pool2d(images, 8))
        edges = sum(F.l1_loss(made.diff(dim=axis), images.diff(dim=axis)) for axis in (2, 3))
        loss = apart + wish.edges * edges
        metrics = {"l1": F.l1_loss(made, images).item()}
        if self.perceptual_loss is not None:
            with self._autocast():
                felt = self.perceptual_loss(made, images, rng)
            loss = loss + wish.perceptual * felt
            metrics["felt"] = felt.item()
        return loss, metrics

    def _adversarial(
        self, seen: Tensor, slope: Tensor, images: Tensor, metrics: dict[str, float]
    ) -> Tensor:
        """Return the critic's slope at the pictures, weighted, and teach the critic (hinge)."""
        with self._autocast():
            self.critic.requires_grad_(False)
            wished = -self.critic(seen).float().mean()
            (pull,) = torch.autograd.grad(wished, seen)
            self.critic.requires_grad_(True)
            real, false = self.critic(images).float(), self.critic(seen.detach()).float()
        loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + false).mean())
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimizer.step()
        weight = slope.norm() / (pull.norm() + 1e-4 * slope.norm() + 1e-12)
        metrics |= {"critic": loss.item(), "fooled": false.mean().item() - real.mean().item()}
        return pull * weight * self.set.adversarial

    def _average(self, step: int) -> None:
        decay = min(0.999, (step + 1) / (step + 20))
        new = [p.detach() for p in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), new, 1 - decay)

    def _rebuild(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions `[B,3,S,S]` by the averaged weights, 0..1, and the codes `[B,h,w]`."""
        codes = self.average.nearest(self.average.encode(images))
        return self.average.decode(self.average.look_up(codes)).clamp(0, 1), codes

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)
