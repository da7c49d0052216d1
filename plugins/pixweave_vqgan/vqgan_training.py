"""The training of `pixweave train vqgan`: a small, economical version of Esser et al. 2021.

- The codebook follows the latents by moving averages (van den Oord et al. 2017, appendix). It is
  initialised by k-means of the latents after a short training without codes; codes that are rarely
  used are moved to latents that are badly encoded.
- The perceptual loss uses the embedded CLIP, on the whole image and on a crop.
- The discriminator's weight is adaptive as in the paper, but measured at the decoder's output
  instead of its last layer: one backward pass through the decoder instead of three.
- Some images are decoded from noisy latents that are not quantised, and some with a few codes
  replaced, because guidance by CLIP later leads to codes that no image was encoded to.
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

SEEN = 1024  # maximum number of images that `measure` uses


class VqganTraining:
    """The training of a VQGAN; see `pixweave.protocols.Training`."""

    def __init__(self, settings: VqganTrainer, run: TrainContext) -> None:
        self.settings, self.run, self.device = settings, run, run.device
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
        """Do one update; psnr (dB) and the share of codes in use are those of this batch."""
        settings, done = self.settings, step / max(self.run.steps, 1)
        rng = torch.Generator().manual_seed(self.run.seed * 1_000_003 + step)
        self._set_rate(step)
        images = self._batch(step)
        quantised = done >= settings.warm
        if quantised and not self.book.ready:
            self.book.begin(self._many_latents(), rng)
        with self._autocast():
            latent = self.model.encode(images).float()
            fit, result = latent, latent
            if quantised:
                codes = self.model.nearest(latent)
                fit = self.model.look_up(codes)
                result = self._disturb(latent, latent + (fit - latent).detach(), codes, rng)
            rebuilt = self.model.decode(result).float()
        commitment = F.mse_loss(latent, fit.detach())
        seen = rebuilt.detach().requires_grad_()
        reconstruction, metrics = self._reconstruction_loss(seen, images, rng)
        (slope,) = torch.autograd.grad(reconstruction, seen)
        if settings.adversarial and done >= settings.adversarial_start:
            slope = slope + self._adversarial(seen, slope, images, metrics)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([rebuilt, settings.commitment * commitment], [slope, None])
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self._average(step)
        if quantised:
            self.book.follow(latent.detach(), codes)
            if done < 0.9:
                metrics["moved"] = float(self.book.restart(latent.detach(), settings.restart, rng))
            metrics["used"] = len(codes.unique()) / settings.codes
        metrics["psnr"] = -10 * math.log10(max(F.mse_loss(seen, images).item(), 1e-10))
        return {"loss": reconstruction.item(), "commitment": commitment.item(), **metrics}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """PSNR (dB), L1 (0..1), share of codes in use and their perplexity, on held-out images."""
        rows = self.run.dataset.held[:SEEN]
        noise, error, counts = [], 0.0, torch.zeros(self.settings.codes)
        for part in np.array_split(rows, math.ceil(len(rows) / 64)):
            images = self.run.dataset.images(part).to(self.device)
            rebuilt, codes = self._rebuild(images)
            noise += (rebuilt - images).square().mean((1, 2, 3)).tolist()
            error += (rebuilt - images).abs().mean((1, 2, 3)).sum().item()
            counts += torch.bincount(codes.flatten().cpu(), minlength=self.settings.codes)
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
        """Held-out images, each followed by its reconstruction, `[32,3,S,S]`."""
        data = self.run.dataset
        rows = data.held if len(data.held) else data.train
        images = data.images(rows[:16]).to(self.device)
        rebuilt, _ = self._rebuild(images)
        return torch.stack([images, rebuilt], 1).flatten(0, 1).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, their average, the critic, both optimizers, and codebook averages."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "book": self.book.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`."""
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
                "base_learning_rate": self.settings.lr,
                "target": VQ,
                "params": {
                    **self.model.params,
                    "lossconfig": {"target": "taming.modules.losses.vqperceptual.DummyLoss"},
                },
            }
        }
        path.with_suffix(".yaml").write_text(yaml.safe_dump(described, sort_keys=False), "utf-8")

    def _set_rate(self, step: int) -> None:
        rate = self.settings.lr * self.run.cosine(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for group in self.critic_optimizer.param_groups:
            group["lr"] = rate * 0.5

    def _batch(self, step: int) -> Tensor:
        """The images `[B,3,S,S]` of a step."""
        rng = np.random.default_rng((self.run.seed, step))
        rows = np.sort(rng.choice(self.run.dataset.train, self.settings.batch))
        images = self.run.dataset.images(rows).to(self.device)
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _many_latents(self) -> Tensor:
        """Latents `[N,D]` of a few thousand positions to initialise the codebook with."""
        found, wanted, step = [], 16 * self.settings.codes, -1
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
        """Latents as a generator may produce them: between codes, or with some codes replaced."""
        settings = self.settings
        draw = torch.rand(len(codes), 1, 1, 1, generator=rng)
        spread = torch.rand(len(codes), 1, 1, 1, generator=rng) * 0.5
        noise = torch.randn(latent.shape, generator=rng) * spread
        other = torch.randint(0, settings.codes, codes.shape, generator=rng)
        where = torch.rand(codes.shape, generator=rng) < 0.05
        draw, noise, other, where = (t.to(self.device) for t in (draw, noise, other, where))
        deviation = (latent - result).detach().square().mean().sqrt()
        result = torch.where(draw < settings.loose, latent + noise * deviation * 2, result)
        swapped = torch.where(where[:, None], self.model.look_up(other), result)
        return torch.where(draw > 1 - settings.swap, swapped, result)

    def _reconstruction_loss(
        self, rebuilt: Tensor, images: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The reconstruction loss, and its terms as metrics."""
        settings = self.settings
        difference = F.l1_loss(rebuilt, images) + F.mse_loss(rebuilt, images)
        # colours of large areas, which would be learned last otherwise
        difference = difference + F.l1_loss(F.avg_pool2d(rebuilt, 8), F.avg_pool2d(images, 8))
        edges = sum(F.l1_loss(rebuilt.diff(dim=axis), images.diff(dim=axis)) for axis in (2, 3))
        loss = difference + settings.edges * edges
        metrics = {"l1": F.l1_loss(rebuilt, images).item()}
        if self.perceptual_loss is not None:
            with self._autocast():
                perceptual = self.perceptual_loss(rebuilt, images, rng)
            loss = loss + settings.perceptual * perceptual
            metrics["felt"] = perceptual.item()
        return loss, metrics

    def _adversarial(
        self, seen: Tensor, slope: Tensor, images: Tensor, metrics: dict[str, float]
    ) -> Tensor:
        """Return the weighted gradient of the critic at the images; train the critic (hinge)."""
        with self._autocast():
            self.critic.requires_grad_(False)
            generator_loss = -self.critic(seen).float().mean()
            (pull,) = torch.autograd.grad(generator_loss, seen)
            self.critic.requires_grad_(True)
            real, false = self.critic(images).float(), self.critic(seen.detach()).float()
        loss = 0.5 * (F.relu(1 - real).mean() + F.relu(1 + false).mean())
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimizer.step()
        weight = slope.norm() / (pull.norm() + 1e-4 * slope.norm() + 1e-12)
        metrics |= {"critic": loss.item(), "fooled": false.mean().item() - real.mean().item()}
        return pull * weight * self.settings.adversarial

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
