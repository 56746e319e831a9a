"""Text to image by denoising latents (Ho et al. 2020, Rombach et al. 2022), with a transformer."""
