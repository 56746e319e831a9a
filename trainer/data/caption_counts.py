"""Captions for a person to look at: as a vocabulary leaves them, and in numbers."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.data.captions import CaptionTable
from trainer.data.splits import Indices, Selection
from trainer.data.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from trainer.data.words import joined
from trainer.task.pictures import Census


def as_read(numbers: Iterable[int], vocabulary: Vocabulary) -> str:
    """The words of a caption that a model gets, with the mark for those that the vocabulary lacks."""
    words = vocabulary.words
    return joined(words[number] for number in numbers if words[number] not in (PAD, START, END))


def caption_census(table: CaptionTable, chosen: Selection, vocabulary: Vocabulary | None) -> Census:
    """The captions of the images of both sides; where there is a vocabulary, their words, too."""
    sides = [_counted(table, side, vocabulary) for side in (chosen.train, chosen.val)]
    counts = {name: (sides[0][name], sides[1][name]) for name in sides[0]}
    return Census(counts, [table.images[image] for image in chosen.used.tolist()])


def _counted(table: CaptionTable, side: Indices, vocabulary: Vocabulary | None) -> dict[str, int]:
    captions = [caption for image in side.tolist() for caption in table.captions[image]]
    counts = {"captions": len(captions)}
    if vocabulary is not None:
        unknown = vocabulary.word_to_idx[UNKNOWN]
        numbers = [vocabulary.encode(caption)[1:-1] for caption in captions]
        counts["words"] = sum(map(len, numbers))
        counts["words that the vocabulary lacks"] = sum(caption.count(unknown) for caption in numbers)
    return counts
