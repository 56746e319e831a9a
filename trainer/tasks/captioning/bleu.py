"""Corpus BLEU (Papineni et al. 2002) on the 0–100 scale, against every reference of an image."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from trainer.data.vocabulary import tokenize


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], use_sacrebleu: bool) -> float:
    """BLEU-4 of `hypotheses[i]` against all `references[i]`, whose number may differ from image to image.

    Case is ignored, since the vocabulary has none. By sacrebleu (13a tokens) where asked for and installed,
    else by nltk on the vocabulary's own tokens.
    """
    if use_sacrebleu and find_spec("sacrebleu"):
        return _by_sacrebleu(hypotheses, references)
    return _by_nltk(hypotheses, references)


def _by_sacrebleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    from sacrebleu.metrics.bleu import BLEU

    most = max(len(group) for group in references)
    streams = [[group[i] if i < len(group) else None for group in references] for i in range(most)]
    # `force` turns off a warning about tokenised text: a decoder's output is always tokenised.
    scorer = BLEU(lowercase=True, force=True)
    return float(scorer.corpus_score(list(hypotheses), streams).score)  # type: ignore[arg-type]  # None is allowed


def _by_nltk(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    from nltk.translate import bleu_score

    grouped = [[tokenize(reference) for reference in group] for group in references]
    smoothing = bleu_score.SmoothingFunction().method3
    score = bleu_score.corpus_bleu(grouped, [tokenize(h) for h in hypotheses], smoothing_function=smoothing)
    return float(score) * 100.0
