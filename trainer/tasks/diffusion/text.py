"""Vectors of captions: from a published text model, frozen, or a small one that is trained with the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.config.registry import load
from trainer.errors import ConfigError, Problem
from trainer.store.digests import model_digest
from trainer.task.batches import in_blocks
from trainer.tasks.diffusion.config_parts import TextEncoderSettings
from trainer.tasks.diffusion.published_parts import fetched, loading, shared_part, subfolder_of

BUILTIN_LENGTH = 48  # tokens, where text_encoder.max_length is null
_KINDS = ("clip", "clip_text_model")
_BLOCK = 64
# Every ASCII letter in both cases, digits, marks, accents, another script: what tokenizers treat differently.
_PROBE = [
    "The quick brown fox jumps over the lazy dog, 1234567890 times! (Really?) it's @home #1 & 50% [a/b]",
    "SPHINX OF BLACK QUARTZ: JUDGE MY VOW; co-operate, naïve café, Ångström, “quoted” – 東京  two spaces",
]


class Text(NamedTuple):
    """What a model attends to: vectors [batch, tokens, width], and which of them are words [batch, tokens]."""

    vectors: Tensor
    known: Tensor


def text_of(vectors: Tensor) -> Text:
    """Vectors whose padding is all zeros, which a text model's output never is."""
    return Text(vectors.float(), vectors.ne(0.0).any(dim=-1))


class LearnedText(nn.Module):
    """Word embeddings, positions and a few transformer layers (pre-norm), on the captioning vocabulary."""

    def __init__(self, words: int, pad: int, settings: TextEncoderSettings, dropout: float) -> None:
        super().__init__()
        self.pad = pad
        self.embed = nn.Embedding(words, settings.width, padding_idx=pad)
        self.places = nn.Parameter(torch.randn(settings.max_length or BUILTIN_LENGTH, settings.width) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                settings.width,
                settings.num_heads,
                4 * settings.width,
                dropout,
                "gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(settings.num_layers)
        )
        self.norm = nn.LayerNorm(settings.width)

    def forward(self, words: Tensor) -> Text:
        """Word numbers [batch, tokens], padded at the end."""
        known = words != self.pad
        vectors = self.embed(words) + self.places[: words.shape[1]]
        for layer in self.layers:
            vectors = layer(vectors, src_key_padding_mask=~known)
        return Text(self.norm(vectors), known)


class FrozenText:
    """A published CLIP text model (Radford et al. 2021) with its tokenizer.

    `digest` names its network and weights, its words, and its length.
    """

    def __init__(self, net: Any, tokenizer: Any, length: int) -> None:
        self.net, self.tokenizer, self.length = net.eval().requires_grad_(False), tokenizer, length
        self.width: int = net.config.hidden_size
        self.digest = f"{model_digest(net)}-{words_digest(tokenizer)}-{length}"

    def encode(self, captions: Sequence[str], device: torch.device) -> Tensor:
        """float16 [captions, length, width]: the last layer's output, zeros behind the last token."""
        return torch.cat([self._block(few, device) for few in in_blocks(captions, _BLOCK)])

    def release(self) -> None:
        """Frees the device's memory; the next `encode` moves the model there again."""
        self.net.to("cpu")

    def _block(self, captions: Sequence[str], device: torch.device) -> Tensor:
        tokens = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.length, return_tensors="pt"
        ).to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            vectors: Tensor = self.net.to(device)(input_ids=tokens.input_ids).last_hidden_state
            kept: Tensor = (vectors * tokens.attention_mask[:, :, None]).half()
        return kept


def words_digest(tokenizer: Any) -> str:
    """A digest of a tokenizer: the numbers of all tokens, and of a sample text."""
    content = [sorted(tokenizer.get_vocab().items()), tokenizer(_PROBE).input_ids]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def pretrained_text(settings: TextEncoderSettings) -> FrozenText:
    """The text model that the configuration names, loaded once a process; `ConfigError` where it cannot be loaded."""
    name, inside = settings.pretrained_model_name, _inside(settings)
    # Where a model is one of several in a repository, its tokenizer has a folder of its own beside it.
    words_inside = {"subfolder": "tokenizer"} if inside.get("subfolder") == "text_encoder" else inside

    def load_both() -> FrozenText:
        length = text_length(settings)
        with loading("text_encoder", name):
            tokenizer = fetched(load("transformers:AutoTokenizer").from_pretrained, name, **words_inside)
            net = fetched(load("transformers:CLIPTextModel").from_pretrained, name, **inside)
        return FrozenText(net, tokenizer, length)

    return shared_part(("text", name, *inside.values(), settings.max_length), Path(name), load_both)


def text_length(settings: TextEncoderSettings) -> int:
    """How many tokens the named text model is given; `ConfigError` where it cannot be loaded, is none, or takes
    fewer: its description alone says."""
    name = settings.pretrained_model_name
    with loading("text_encoder", name):
        config = fetched(load("transformers:AutoConfig").from_pretrained, name, **_inside(settings))
    if config.model_type not in _KINDS:
        what = f"{name} is a {config.model_type}; the text models that can be used are CLIP's"
        raise ConfigError([Problem("text_encoder.pretrained_model_name", what)])
    most: int = getattr(config, "text_config", config).max_position_embeddings
    asked = settings.max_length or most
    if asked > most:
        what = f"{asked} is more than the {most} tokens that {name} takes"
        raise ConfigError([Problem("text_encoder.max_length", what)])
    return asked


def _inside(settings: TextEncoderSettings) -> dict[str, str]:
    """The library's argument for the text model's subfolder."""
    subfolder = settings.subfolder or subfolder_of(settings.pretrained_model_name, "text_encoder")
    return {"subfolder": subfolder} if subfolder else {}
