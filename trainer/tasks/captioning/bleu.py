"""Corpus BLEU (Papineni et al. 2002) on the 0–100 scale, against every reference of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from trainer.data.words import as_written, bleu_tokenizer, tokenize

_ORDER = 4  # the longest n-grams


def corpus_bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    use_sacrebleu: bool,
    tokenizer: str | None = None,
) -> float:
    """BLEU-4 of `hypotheses[i]` against all `references[i]`, whose number may differ from image to image.

    Case is ignored, since the vocabulary has none, and hypotheses and references are compared as a vocabulary writes
    them. By sacrebleu where asked for and installed, with its `tokenizer` (None: by the references' script), else by
    nltk on the vocabulary's own tokens.

    Where no hypothesis is as long as 4 tokens, n-grams are counted up to the longest reference length only, of those
    closest to the hypotheses: the usual score is then 0 by definition, also for captions repeated word by word.
    """
    hypotheses = [as_written(text) for text in hypotheses]
    references = [[as_written(text) for text in group] for group in references]
    if use_sacrebleu and find_spec("sacrebleu"):
        chosen = tokenizer or bleu_tokenizer([text for group in references for text in group])
        return _by_sacrebleu(hypotheses, references, chosen)
    return _by_nltk(hypotheses, references)


def _by_sacrebleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str) -> float:
    from sacrebleu.metrics.bleu import BLEU

    most = max(len(group) for group in references)
    streams = [[group[i] if i < len(group) else None for group in references] for i in range(most)]
    # `force` turns off a warning about tokenised text: a decoder's output may look like it.
    scorer = BLEU(lowercase=True, force=True, tokenize=tokenizer)
    scorer.max_ngram_order = _order(hypotheses, references, lambda text: scorer.tokenizer(text).split())
    return float(scorer.corpus_score(list(hypotheses), streams).score)  # type: ignore[arg-type]  # None is allowed


def _by_nltk(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    from nltk.translate import bleu_score

    grouped = [[tokenize(reference) for reference in group] for group in references]
    order = _order(hypotheses, references, tokenize)
    score = bleu_score.corpus_bleu(
        grouped,
        [tokenize(h) for h in hypotheses],
        weights=(1.0 / order,) * order,
        smoothing_function=bleu_score.SmoothingFunction().method3,
    )
    return float(score) * 100.0


def _order(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokens: Callable[[str], Sequence[str]]
) -> int:
    """Up to which length n-grams are counted."""
    lengths = [len(tokens(text)) for text in hypotheses]
    if max(lengths) >= _ORDER:
        return _ORDER
    pairs = zip(lengths, references, strict=True)
    closest = (min((len(tokens(text)) for text in group), key=lambda n: (abs(n - said), n)) for said, group in pairs)
    return min(_ORDER, max(1, *closest))
