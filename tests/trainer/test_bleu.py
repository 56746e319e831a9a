"""BLEU is sacrebleu's, with every reference of an image."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from trainer_parts import tiny

from trainer.api import ConfigError, check_data, metric_of
from trainer.data.vocabulary import build_vocabulary
from trainer.data.words import bleu_tokenizer
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


def test_a_corpus_of_short_captions_can_be_perfect() -> None:
    """Without any four words in a row there is no 4-gram, and the usual score is 0 by definition."""
    assert sacrebleu.corpus_bleu(["a cat"], [["a cat"]]).score == 0.0
    assert corpus_bleu(["a cat", "cats"], [["a cat"], ["cats", "some cats sleep here"]], True) == pytest.approx(100.0)
    assert 0.0 < corpus_bleu(["a dog"], [["a cat"]], True) < 100.0
    assert corpus_bleu(["a red cat"], [["a red cat sleeps here"]], True) == 0.0, "as sacrebleu: it is too short"
    mixed = ["a cat", "a small dog runs"]
    expected = sacrebleu.corpus_bleu(mixed, [["a cat", "the small dog runs"]]).score
    assert corpus_bleu(mixed, [["a cat"], ["the small dog runs"]], True) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "meant", "tokenizer"),
    [
        ("A dog, isn't it? It's 3.50 (or 1,000) - \"quoted\", well-known... etc.",
         "A dog, isn't he? It costs 3.50 (or 1,000) - \"quoted\", well-known... etc.", "13a"),
        ("un café à côté d'une île, n'est-ce pas ?", "un café à côté de l'île, n'est-ce pas ?", "13a"),
        ("большая собака бежит по траве.", "большая собака бежит по снегу.", "13a"),
        ("एक बड़ा कुत्ता घास पर दौड़ रहा है।", "एक बड़ा कुत्ता बर्फ पर दौड़ रहा है।", "intl"),
        ("كلب كبير يركض على العشب، أليس كذلك؟", "كلب كبير يركض على الثلج، أليس كذلك؟", "intl"),
        ("큰 개가 잔디 위를 달린다.", "큰 개가 눈 위를 달린다.", "intl"),
        ("一只大狗在3.50米的草地上跑。", "一只大狗在3.50米的雪地上跑。", "zh"),
        ("大きな犬が草の上を走っている。", "大きな犬が雪の上を走っている。", "char"),
        ("สุนัขตัวใหญ่วิ่งบนหญ้า", "สุนัขตัวใหญ่วิ่งบนหิมะ", "char"),
    ],
)  # fmt: skip
def test_the_score_is_that_of_the_natural_text(said: str, meant: str, tokenizer: str) -> None:
    """What a vocabulary says of a text scores as the text itself does with sacrebleu."""
    expected = sacrebleu.corpus_bleu([said], [[meant]], lowercase=True, tokenize=tokenizer).score
    assert 0.0 < expected < 100.0
    assert bleu_tokenizer([meant]) == tokenizer
    vocabulary = build_vocabulary([said], 1)
    assert corpus_bleu([vocabulary.decode(vocabulary.encode(said))], [[meant]], True) == pytest.approx(expected)
    assert corpus_bleu([said], [[meant]], True, tokenizer) == pytest.approx(expected)


NEEDS_ONE = r"metrics\.bleu: .*nltk is not installed: .*rungwise\[nltk\].*metrics\.bleu=false"


@pytest.mark.parametrize(
    ("installed", "metrics", "refused"),
    [
        ({"sacrebleu"}, {}, ""),
        ({"sacrebleu"}, {"use_sacrebleu_if_available": False}, NEEDS_ONE),
        ({"nltk"}, {}, ""),
        ({"nltk"}, {"use_sacrebleu_if_available": False}, ""),
        (set(), {}, NEEDS_ONE),
        (set(), {"bleu": False}, ""),
        ({"nltk"}, {"bleu_tokenize": "zh"}, r"metrics\.bleu_tokenize: zh is a tokenizer of sacrebleu.*not installed"),
        ({"sacrebleu"}, {"bleu_tokenize": "zh"}, ""),
        ({"sacrebleu"}, {"bleu_tokenize": "ja-mecab"}, r"bleu_tokenize: ja-mecab needs .*install 'sacrebleu\[ja\]'"),
        ({"sacrebleu", "MeCab", "ipadic"}, {"bleu_tokenize": "ja-mecab"}, ""),
    ],
)  # fmt: skip
def test_bleu_that_cannot_be_computed_is_refused(
    installed: set[str], metrics: dict[str, Any], refused: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A study never goes by another metric than it was asked to."""
    monkeypatch.setattr(files, "find_spec", lambda module: module in installed or None)
    config = tiny(tmp_path, **{f"metrics__{key}": value for key, value in metrics.items()})
    assert metric_of(config).name == ("bleu" if metrics.get("bleu", True) else "loss")
    if refused:
        with pytest.raises(ConfigError, match=refused):
            check_data(config)
    else:
        said = check_data(config).words
        tokenizer = metrics.get("bleu_tokenize", "13a")
        assert ("BLEU" in said) == metrics.get("bleu", True)
        assert (f"BLEU by sacrebleu (tokenizer {tokenizer})" in said) == ("sacrebleu" in installed)
