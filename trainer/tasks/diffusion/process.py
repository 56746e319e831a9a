"""The noise process: what is added to latents, what the model predicts of it, and how images are sampled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from trainer.tasks.diffusion.config import NoiseSettings

Predict = Callable[[Tensor, Tensor], Tensor]  # noised latents, levels [batch] → prediction


class NoiseProcess:
    """Denoising diffusion (Ho et al. 2020), sampled by DDIM (Song et al. 2021); both schedulers are the library's."""

    def __init__(self, settings: NoiseSettings) -> None:
        self.settings = settings
        shared = {
            "num_train_timesteps": settings.num_train_timesteps,
            "beta_start": settings.beta_start,
            "beta_end": settings.beta_end,
            "beta_schedule": settings.beta_schedule,
            "prediction_type": settings.prediction_type,
            "clip_sample": False,  # latents are no pixels: they have no bounds
        }
        self.training = DDPMScheduler(**shared)
        # From pure noise on, as the last level of training is: "leading" steps would never begin there.
        self._sampling = {**shared, "timestep_spacing": "trailing", "set_alpha_to_one": True}

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
        """Latents from noise [batch, channels, h, w], without randomness of their own."""
        scheduler = DDIMScheduler(**self._sampling)
        scheduler.set_timesteps(steps, device=noise.device)
        latents = noise
        for level in scheduler.timesteps:
            predicted = predict(latents, level.expand(len(latents)))
            latents = scheduler.step(predicted.float(), level, latents, eta=0.0).prev_sample
        return latents


def guided(predict_both: Predict, scale: float) -> Predict:
    """Classifier-free guidance (Ho and Salimans 2022): from the prediction without a text towards the one with it.

    `predict_both` gets the latents twice and gives the predictions with the text first, then those without.
    """

    def predict(latents: Tensor, levels: Tensor) -> Tensor:
        with_text, without = predict_both(torch.cat([latents, latents]), torch.cat([levels, levels])).chunk(2)
        return without + scale * (with_text - without)

    return predict
