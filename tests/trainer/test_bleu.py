"""BLEU is sacrebleu's, with every reference of an image."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sacrebleu
from trainer_parts import tiny

from trainer.api import metric_of
from trainer.tasks.captioning import files
from trainer.tasks.captioning.bleu import corpus_bleu

pytestmark = pytest.mark.core

WORDS = [
    "a",
    "red",
    "blue",
    "green",
    "circle",
    "square",
    "above",
    "below",
    "the",
    "left",
    "of",
    "and",
    "small",
    "large",
    ".",
]


def sentences(rng: random.Random, n: int) -> list[str]:
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 12))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_sacrebleu_with_a_varying_number_of_references(seed: int) -> None:
    rng = random.Random(seed)
    references = [sentences(rng, rng.randint(1, 5)) for _ in range(30)]
    hypotheses = [rng.choice([*group, *sentences(rng, 1)]) for group in references]
    # To repeat a reference changes neither the counts that are clipped nor the closest length.
    streams = [[group[min(i, len(group) - 1)] for group in references] for i in range(5)]
    expected = sacrebleu.corpus_bleu(hypotheses, streams, lowercase=True).score
    assert 0.0 < expected < 100.0
    assert corpus_bleu(hypotheses, references, use_sacrebleu=True) == pytest.approx(expected, abs=1e-9)


def test_every_reference_counts() -> None:
    hypotheses = ["a red circle above the blue square", "a green star"]
    references = [["something else entirely", hypotheses[0]], [hypotheses[1]]]
    assert corpus_bleu(hypotheses, references, use_sacrebleu=True) == pytest.approx(100.0)
    worse = corpus_bleu(hypotheses, [[group[0]] for group in references], use_sacrebleu=True)
    assert worse < 90.0


def test_case_does_not_count_and_nothing_said_is_zero() -> None:
    assert corpus_bleu(["a red circle above"], [["A Red CIRCLE above"]], use_sacrebleu=True) == pytest.approx(100.0)
    assert corpus_bleu(["", ""], [["a red circle"], ["a square"]], use_sacrebleu=True) == 0.0


def test_nltk_where_it_is_asked_for() -> None:
    pytest.importorskip("nltk")
    rng = random.Random(1)
    references = [sentences(rng, rng.randint(1, 4)) for _ in range(20)]
    perfect = [group[-1] for group in references]
    assert corpus_bleu(perfect, references, use_sacrebleu=False) == pytest.approx(100.0)
    mixed = [rng.choice([*group, *sentences(rng, 1)]) for group in references]
    by_sacrebleu = corpus_bleu(mixed, references, use_sacrebleu=True)
    assert corpus_bleu(mixed, references, use_sacrebleu=False) == pytest.approx(by_sacrebleu, abs=1.0)


@pytest.mark.parametrize(
    ("installed", "bleu", "prefer_sacrebleu", "name"),
    [
        ({"sacrebleu"}, True, True, "bleu"),
        ({"sacrebleu"}, True, False, "loss"),
        ({"nltk"}, True, True, "bleu"),
        ({"nltk"}, True, False, "bleu"),
        (set(), True, True, "loss"),
        ({"sacrebleu", "nltk"}, False, True, "loss"),
    ],
)
def test_the_metric_follows_what_is_installed_and_asked_for(
    installed: set[str],
    bleu: bool,
    prefer_sacrebleu: bool,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(files, "find_spec", lambda module: module in installed or None)
    config = tiny(tmp_path, metrics__bleu=bleu, metrics__use_sacrebleu_if_available=prefer_sacrebleu)
    metric = metric_of(config)
    assert metric.name == name
    assert metric.better(2.0, 1.0) == (name == "bleu")
