"""Beam search against plain searches that cannot be wrong."""

from __future__ import annotations

import itertools

import pytest
import torch

from trainer.data.vocabulary import END, PAD, SPECIAL, START, UNKNOWN, Vocabulary
from trainer.tasks.captioning.config import CaptioningModel
from trainer.tasks.captioning.decode import beam_search
from trainer.tasks.captioning.model import Decoder

IMAGES, DIM = 6, 8


def parts(words: int, seed: int) -> tuple[Decoder, Vocabulary, torch.Tensor]:
    """A decoder with random weights, large enough that its captions differ; its vocabulary; image vectors."""
    torch.manual_seed(seed)
    names = [*SPECIAL, *(f"w{number}" for number in range(words))]
    vocabulary = Vocabulary({word: index for index, word in enumerate(names)}, 1)
    decoder = Decoder(len(names), CaptioningModel(embed_size=8, encoder_dim=DIM, decoder_dim=8, dropout=0.5)).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    return decoder, vocabulary, torch.randn(IMAGES, DIM)


def log_probabilities(decoder: Decoder, vocabulary: Vocabulary, image: torch.Tensor, words: list[int]) -> list[float]:
    """Of each word of a caption, given the image and the words before."""
    given = torch.tensor([[vocabulary.word_to_idx[START], *words[:-1]]])
    with torch.no_grad():
        logits, _ = decoder(given, image[None], decoder.start(image[None]))
    table = logits[0].log_softmax(-1)
    return [float(table[step, word]) for step, word in enumerate(words)]


def mean_log_p(decoder: Decoder, vocabulary: Vocabulary, image: torch.Tensor, words: list[int]) -> float:
    scores = log_probabilities(decoder, vocabulary, image, words)
    return sum(scores) / len(scores)


def to_end(words: list[int], vocabulary: Vocabulary) -> list[int]:
    end = vocabulary.word_to_idx[END]
    return words[: words.index(end) + 1] if end in words else words


def search(decoder: Decoder, images: torch.Tensor, vocabulary: Vocabulary, beams: int, longest: int) -> list[list[int]]:
    with torch.no_grad():
        found = beam_search(decoder, images, vocabulary, beams, longest)
    return [to_end(words, vocabulary) for words in found]


def greedy(decoder: Decoder, vocabulary: Vocabulary, image: torch.Tensor, longest: int) -> list[int]:
    never = [vocabulary.word_to_idx[word] for word in (PAD, START, UNKNOWN)]
    state, word, said = decoder.start(image[None]), vocabulary.word_to_idx[START], []
    for _ in range(longest):
        with torch.no_grad():
            logits, state = decoder(torch.tensor([[word]]), image[None], state)
        logits[..., never] = -torch.inf
        word = int(logits.argmax())
        said.append(word)
        if word == vocabulary.word_to_idx[END]:
            break
    return said


def plain_beams(decoder: Decoder, vocabulary: Vocabulary, image: torch.Tensor, beams: int, longest: int) -> list[int]:
    """Beam search as one would say it: grow every open caption by every word, keep the best few by their mean."""
    end = vocabulary.word_to_idx[END]
    allowed = [n for word, n in vocabulary.word_to_idx.items() if word not in (PAD, START, UNKNOWN)]
    kept: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(longest):
        closed = [(score, words) for score, words in kept if words and words[-1] == end]
        grown = [[*words, word] for _, words in kept if not words or words[-1] != end for word in allowed]
        scored = [(mean_log_p(decoder, vocabulary, image, words), words) for words in grown]
        kept = sorted([*closed, *scored], reverse=True)[:beams]
    return kept[0][1]


@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_equal_to_a_plain_beam_search(beams: int, seed: int) -> None:
    decoder, vocabulary, images = parts(words=6, seed=seed)
    expected = [plain_beams(decoder, vocabulary, image, beams, 5) for image in images]
    assert search(decoder, images, vocabulary, beams, 5) == expected


@pytest.mark.parametrize("seed", range(6))
def test_one_beam_is_greedy(seed: int) -> None:
    decoder, vocabulary, images = parts(words=12, seed=seed)
    expected = [greedy(decoder, vocabulary, image, 10) for image in images]
    assert search(decoder, images, vocabulary, 1, 10) == expected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("longest", [1, 2, 4])
def test_beams_for_every_caption_find_the_likeliest(seed: int, longest: int) -> None:
    """One word beside <END>: at length n there are n + 1 captions, never more than the beams."""
    decoder, vocabulary, images = parts(words=1, seed=seed)
    end, word = vocabulary.word_to_idx[END], vocabulary.word_to_idx["w0"]
    every = [[word] * n + [end] for n in range(longest)] + [[word] * longest]
    for image, found in zip(images, search(decoder, images, vocabulary, 5, longest), strict=True):
        scores = [mean_log_p(decoder, vocabulary, image, caption) for caption in every]
        assert mean_log_p(decoder, vocabulary, image, found) == pytest.approx(max(scores), abs=1e-5)


def test_two_steps_with_all_beams_are_exhaustive() -> None:
    decoder, vocabulary, images = parts(words=3, seed=1)
    end, words = vocabulary.word_to_idx[END], [vocabulary.word_to_idx[f"w{n}"] for n in range(3)]
    every = [[end], *([a, b] for a, b in itertools.product(words, [end, *words]))]
    for image, found in zip(images, search(decoder, images, vocabulary, 7, 2), strict=True):
        scores = [mean_log_p(decoder, vocabulary, image, caption) for caption in every]
        assert mean_log_p(decoder, vocabulary, image, found) == pytest.approx(max(scores), abs=1e-5)


@pytest.mark.parametrize("beams", [1, 2, 3, 7, 50])
def test_words_that_no_reference_holds_are_never_said(beams: int) -> None:
    decoder, vocabulary, images = parts(words=5, seed=3)
    never = [vocabulary.word_to_idx[word] for word in (PAD, START, UNKNOWN)]
    with torch.no_grad():
        decoder.to_words.bias[never] = 50.0  # the model wants nothing else
    for words in search(decoder, images, vocabulary, beams, 8):
        assert words
        assert len(words) <= 8
        assert not set(words) & set(never)
        assert vocabulary.words[words[-1]] == END or len(words) == 8


@pytest.mark.parametrize("beams", [1, 4])
def test_an_images_caption_does_not_depend_on_its_neighbours(beams: int) -> None:
    decoder, vocabulary, images = parts(words=10, seed=5)
    together = search(decoder, images, vocabulary, beams, 9)
    alone = [search(decoder, image[None], vocabulary, beams, 9)[0] for image in images]
    assert together == alone
    assert len({tuple(words) for words in together}) > 1


def test_in_the_mean_more_beams_find_likelier_captions() -> None:
    gains = []
    for seed in range(10):
        decoder, vocabulary, images = parts(words=10, seed=seed)
        found = {beams: search(decoder, images, vocabulary, beams, 8) for beams in (1, 8)}
        means = {
            beams: sum(mean_log_p(decoder, vocabulary, *pair) for pair in zip(images, captions, strict=True))
            for beams, captions in found.items()
        }
        gains.append(means[8] - means[1])
    assert sum(gains) > 0.0


def test_decoding_in_bf16_runs() -> None:
    decoder, vocabulary, images = parts(words=10, seed=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert len(search(decoder, images, vocabulary, 3, 6)) == IMAGES
