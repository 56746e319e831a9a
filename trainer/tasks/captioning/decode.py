"""Captions from mean vectors, by beam search; with one beam it is greedy decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.data.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from trainer.tasks.captioning.model import Decoder


def beam_search(
    decoder: Decoder, image: Tensor, vocabulary: Vocabulary, beams: int, max_length: int
) -> list[list[int]]:
    """The most likely caption of each image as word numbers, <END> included where it was reached.

    `image` holds mean vectors [batch, encoder_dim]. Hypotheses are ranked by mean log-probability a word, so
    that length is not penalised (Wu et al. 2016 with α = 1). <PAD>, <START> and <UNK> are never produced: no
    reference holds them.
    """
    batch, device = image.shape[0], image.device
    end = vocabulary.word_to_idx[END]
    beams = min(beams, len(vocabulary))
    never = torch.tensor([vocabulary.word_to_idx[word] for word in (PAD, START, UNKNOWN)], device=device)
    wide = image.repeat_interleave(beams, dim=0)  # [batch * beams, encoder_dim]
    state = decoder.start(wide)
    words = torch.full((batch * beams, 1), vocabulary.word_to_idx[START], device=device)
    scores = torch.full((batch, beams), -torch.inf, device=device)
    scores[:, 0] = 0.0  # at the start all beams are equal
    lengths = torch.zeros(batch, beams, device=device)
    done = torch.zeros(batch, beams, dtype=torch.bool, device=device)
    first_beam = (torch.arange(batch, device=device) * beams)[:, None]
    for _ in range(max_length):
        logits, state = decoder(words[:, -1:], wide, state)
        log_p = logits[:, -1].float().log_softmax(-1).index_fill(-1, never, -torch.inf).view(batch, beams, -1)
        log_p = _only_end_when_done(log_p, done, end)
        grown_lengths = lengths + (~done)
        total = scores[..., None] + log_p  # [batch, beams, vocabulary]
        rank = total / grown_lengths[..., None].clamp(min=1)
        _, flat = rank.flatten(1).topk(beams, dim=1)
        parent, word = flat // log_p.shape[-1], flat % log_p.shape[-1]
        scores = total.flatten(1).gather(1, flat)
        lengths = grown_lengths.gather(1, parent)
        done = done.gather(1, parent) | (word == end)
        origin = (first_beam + parent).flatten()
        words = torch.cat([words[origin], word.flatten()[:, None]], dim=1)
        state = (state[0][:, origin], state[1][:, origin])
        if bool(done.all()):
            break
    best = (scores / lengths.clamp(min=1)).argmax(dim=1)
    chosen = words.view(batch, beams, -1)[torch.arange(batch, device=device), best, 1:]
    return [list(row) for row in chosen.tolist()]


def _only_end_when_done(log_p: Tensor, done: Tensor, end: int) -> Tensor:
    """A finished hypothesis can only repeat <END>, at no cost."""
    closed = torch.full_like(log_p, -torch.inf)
    closed[..., end] = 0.0
    return torch.where(done[..., None], closed, log_p)
