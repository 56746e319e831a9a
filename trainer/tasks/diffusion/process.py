"""The noise process: what is added to latents, what the model predicts of it, and how images are sampled.

Levels of noise and what is added on each are the library's. Its DDIM is only right where the number of steps divides
the number of levels: else a step goes to another level than the next one, and leaves noise behind, and the list of
levels may end on one of pure noise. So the steps are taken here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from trainer.tasks.diffusion.config import NoiseSettings

Predict = Callable[[Tensor, Tensor], Tensor]  # noised latents, levels [batch] → prediction


class NoiseProcess:
    """Denoising diffusion (Ho et al. 2020), sampled by DDIM (Song et al. 2021)."""

    def __init__(self, settings: NoiseSettings) -> None:
        self.settings = settings
        self.training = DDPMScheduler(
            num_train_timesteps=settings.num_train_timesteps,
            beta_start=settings.beta_start,
            beta_end=settings.beta_end,
            beta_schedule=settings.beta_schedule,
            prediction_type=settings.prediction_type,
        )

    def noised(self, latents: Tensor, noise: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Noised latents, and what is to be predicted of them: the noise, or the velocity.

        latents, noise: [batch, channels, h, w]; levels: int64 [batch], 0 the least noise.
        """
        noised: Tensor = self.training.add_noise(latents, noise, levels)
        if self.settings.prediction_type == "epsilon":
            return noised, noise
        velocity: Tensor = self.training.get_velocity(latents, noise, levels)
        return noised, velocity

    def sampled(self, predict: Predict, noise: Tensor, steps: int) -> Tensor:
        """Latents from noise [batch, channels, h, w], without randomness of their own, in any number of steps."""
        levels = torch.tensor(sampled_levels(self.settings.num_train_timesteps, steps), device=noise.device)
        shares = self.training.alphas_cumprod.to(noise.device)[levels]
        below = torch.cat([shares[1:], shares.new_ones(1)])  # after the last step no noise is left
        latents = noise
        for level, share, next_share in zip(levels, shares, below, strict=True):
            clean, rest = self._parts(latents, predict(latents, level.expand(len(latents))).float(), share)
            latents = next_share.sqrt() * clean + (1.0 - next_share).sqrt() * rest
        return latents

    def _parts(self, noised: Tensor, predicted: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """The latents and the noise that a prediction implies; the latents' share of the variance is `share`."""
        signal, rest = share.sqrt(), (1.0 - share).sqrt()
        if self.settings.prediction_type == "epsilon":
            return (noised - rest * predicted) / signal, predicted
        return signal * noised - rest * predicted, signal * predicted + rest * noised


def sampled_levels(levels: int, steps: int) -> list[int]:
    """Some levels at equal distances, from the one with the most noise in training ("trailing" spacing)."""
    return [round(levels * left / steps) - 1 for left in range(steps, 0, -1)]


def guided(predict_both: Predict, scale: float) -> Predict:
    """Classifier-free guidance (Ho and Salimans 2022): from the prediction without a text towards the one with it.

    `predict_both` gets the latents twice and gives the predictions with the text first, then those without.
    """

    def predict(latents: Tensor, levels: Tensor) -> Tensor:
        with_text, without = predict_both(torch.cat([latents, latents]), torch.cat([levels, levels])).chunk(2)
        return without + scale * (with_text - without)

    return predict
