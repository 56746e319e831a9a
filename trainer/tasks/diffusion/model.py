"""The denoiser: a transformer over patches of latents that attends to a text and is modulated by the noise level.

The library's `PixArtTransformer2DModel` (Chen et al. 2023: DiT blocks with cross-attention, and one modulation that all
blocks share) takes every parameter of `model` but the MLP's width. It has 16 · hidden² · layers weights and some more,
150 M at the defaults; a modulation in each block, as DiT has it, would be 57 M on top.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import PixArtTransformer2DModel
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from trainer.tasks.diffusion.config import DiffusionModel
from trainer.tasks.diffusion.text import LearnedText, Text

_SPAN = 16  # positions lie in [0, 16), whatever the number of patches: those of the library at 256 px
_LIBRARY_RATIO = 4.0


class Denoiser(nn.Module):
    """The transformer, and the text encoder where it is trained with it."""

    def __init__(self, settings: DiffusionModel, side: int, text_width: int, learned: LearnedText | None) -> None:
        """`side`: latents a side of an image, of which other numbers work, too."""
        super().__init__()
        self.transformer = _transformer(settings, side, text_width)
        self.text = learned

    def forward(self, noised: Tensor, levels: Tensor, text: Text) -> Tensor:
        """Noised latents [batch, channels, h, w] and their levels [batch] → prediction, shaped like the latents."""
        prediction: Tensor = self.transformer(
            noised,
            encoder_hidden_states=text.vectors,
            timestep=levels,
            encoder_attention_mask=text.known,
            return_dict=False,
        )[0]
        return prediction


def _transformer(settings: DiffusionModel, side: int, text_width: int) -> nn.Module:
    made: Any = PixArtTransformer2DModel(
        num_attention_heads=settings.num_heads,
        attention_head_dim=settings.head_dim,
        in_channels=settings.in_channels,
        out_channels=settings.out_channels,
        num_layers=settings.num_layers,
        dropout=settings.dropout,
        cross_attention_dim=settings.hidden_size,
        caption_channels=text_width,
        sample_size=side,
        patch_size=settings.patch_size,
        interpolation_scale=side / settings.patch_size / _SPAN,
        use_additional_conditions=False,
    )
    if settings.mlp_ratio != _LIBRARY_RATIO:
        inner = round(settings.mlp_ratio * settings.hidden_size)
        for block in made.transformer_blocks:
            block.ff = FeedForward(
                settings.hidden_size, dropout=settings.dropout, activation_fn="gelu-approximate", inner_dim=inner
            )
    _initialise(made)
    module: nn.Module = made
    return module


@torch.no_grad()
def _initialise(made: Any) -> None:
    """As DiT and PixArt start: each block near the identity, no influence of the text, a prediction of zero."""
    for module in made.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    patches = made.pos_embed.proj
    nn.init.xavier_uniform_(patches.weight.view(patches.weight.shape[0], -1))
    nn.init.zeros_(patches.bias)
    embedder = made.adaln_single.emb.timestep_embedder
    projection = made.caption_projection
    for linear in (
        embedder.linear_1,
        embedder.linear_2,
        made.adaln_single.linear,
        projection.linear_1,
        projection.linear_2,
    ):
        nn.init.normal_(linear.weight, std=0.02)
    for block in made.transformer_blocks:
        nn.init.zeros_(block.attn2.to_out[0].weight)
    nn.init.zeros_(made.proj_out.weight)
