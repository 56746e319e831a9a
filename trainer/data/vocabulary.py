"""The vocabulary of captions: words and their numbers, kept as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer.data.splits import Indices
from trainer.data.words import RULES, joined, tokenize
from trainer.errors import ConfigError, DataError, Problem, counted
from trainer.store.cache_folder import cache_dir, remembered
from trainer.store.text import write_whole

PAD, START, END, UNKNOWN = "<PAD>", "<START>", "<END>", "<UNK>"
SPECIAL = (PAD, START, END, UNKNOWN)
# Older vocabularies took combining marks and decimals apart, and no script's characters.
_OLDER_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_MOST_UNKNOWN = 0.1  # from this share on a warning reports it


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers: `word_to_idx` numbers them in order from 0, with the four special words."""

    word_to_idx: dict[str, int]
    freq_threshold: int

    @cached_property
    def older(self) -> bool:
        """Whether it was built by older rules: some of its words are none, or several, by those of today."""
        return any(len(tokenize(word)) != 1 for word in self.word_to_idx if word not in SPECIAL)

    def split(self, caption: str) -> list[str]:
        """The words of a caption, known or not; an unknown one in its older parts where all of these are known."""
        if self.older:
            return _OLDER_TOKEN.findall(caption.lower())
        words: list[str] = []
        for word in tokenize(caption):
            parts = [word] if word in self.word_to_idx else _OLDER_TOKEN.findall(word)
            words += parts if all(part in self.word_to_idx for part in parts) else [word]
        return words

    def __len__(self) -> int:
        return len(self.word_to_idx)

    def encode(self, caption: str) -> list[int]:
        """Token numbers of a caption between <START> and <END>."""
        unknown = self.word_to_idx[UNKNOWN]
        numbers = [self.word_to_idx.get(word, unknown) for word in self.split(caption)]
        return [self.word_to_idx[START], *numbers, self.word_to_idx[END]]

    def decode(self, numbers: Sequence[int]) -> str:
        """The words up to <END> as they are written, without special words."""
        words = self.words
        end = self.word_to_idx[END]
        kept = numbers[: numbers.index(end)] if end in numbers else numbers
        return joined(words[number] for number in kept if words[number] not in SPECIAL)

    @property
    def words(self) -> list[str]:
        return list(self.word_to_idx)

    def plain(self) -> dict[str, object]:
        return {"word_to_idx": self.word_to_idx, "freq_threshold": self.freq_threshold}


def build_vocabulary(captions: Iterable[str], freq_threshold: int) -> Vocabulary:
    """Words seen at least `freq_threshold` times, most frequent first, ties in the order of the alphabet."""
    return _of_counts(Counter(word for caption in captions for word in tokenize(caption)), freq_threshold)


def _of_counts(counts: Counter[str], freq_threshold: int) -> Vocabulary:
    kept = sorted((word for word, n in counts.items() if n >= freq_threshold), key=lambda w: (-counts[w], w))
    return Vocabulary({word: index for index, word in enumerate([*SPECIAL, *kept])}, freq_threshold)


def vocabulary_for(captions: Sequence[str], freq_threshold: int, vocab_path: Path | None) -> Vocabulary:
    """The vocabulary of a training split: from `vocab_path` or the cache where it exists, else built and saved.

    In the cache its name is made of the captions and the threshold, so that trials share it and another data
    set never gets it.
    """
    path = vocab_path
    if path is None:
        digest = hashlib.sha256("\0".join(captions).encode()).hexdigest()[:16]
        path = cache_dir() / "vocabulary" / f"{digest}-{freq_threshold}-{RULES}.json"
    if path.exists():
        return load_vocabulary(path, freq_threshold)
    vocabulary = build_vocabulary(captions, freq_threshold)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(vocabulary.plain(), ensure_ascii=False))
    except OSError as error:
        advice = "data.vocab_path, or the environment variable RUNGWISE_CACHE, can name another place"
        raise DataError(f"{path}: the vocabulary cannot be written ({error.strerror}); {advice}") from None
    return vocabulary


def load_vocabulary(path: Path, freq_threshold: int) -> Vocabulary:
    """Reads a JSON vocabulary, whatever its suffix; another threshold, a pickle or a damaged file is a clear error."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}) (data.vocab_path)") from None
    try:
        content = json.loads(raw)
        word_to_idx, threshold = content["word_to_idx"], content["freq_threshold"]
        ordered = dict(sorted(word_to_idx.items(), key=lambda item: item[1]))
    except (ValueError, KeyError, TypeError, AttributeError):
        if raw[:1] == b"\x80" or path.suffix in {".pkl", ".pickle"}:
            what = "looks like a pickle, which can run code and is not opened; a vocabulary is JSON"
            raise DataError(f"{path}: {what}") from None
        raise DataError(f"{path}: expected JSON with word_to_idx and freq_threshold") from None
    whole = all(type(number) is int for number in ordered.values())
    if not whole or list(ordered.values()) != list(range(len(ordered))) or not set(SPECIAL) <= set(ordered):
        raise DataError(f"{path}: word_to_idx must number its words from 0 and hold {', '.join(SPECIAL)}")
    if threshold != freq_threshold:
        what = f"was built with freq_threshold {threshold}, the configuration says {freq_threshold}"
        raise ConfigError([Problem("data.vocab_path", f"{path} {what}; name another file or the same threshold")])
    return Vocabulary(ordered, threshold)


@dataclass(frozen=True)
class Coverage:
    """How much of a training split's captions a vocabulary knows: its number of words, without the special ones, and
    the share of unknown words in the captions. `lengths[n]` captions have n words."""

    known: int
    unknown_share: float
    lengths: Sequence[int]
    freq_threshold: int
    vocab_path: Path | None  # where the vocabulary was given

    @property
    def words(self) -> str:
        """The coverage in words."""
        size = counted(self.known, "word")
        return f"a vocabulary of {size}, to which {self.unknown_share:.1%} of the training captions' words are unknown"

    def longer_than(self, words: int) -> float:
        """The share of captions with more words."""
        return sum(self.lengths[words + 1 :]) / max(1, sum(self.lengths))

    @property
    def warnings(self) -> list[str]:
        """A warning where the vocabulary knows too little to learn from."""
        if self.unknown_share <= _MOST_UNKNOWN:
            return []
        if self.vocab_path is not None:
            what = f"{self.unknown_share:.0%} of the words in the training captions are not in {self.vocab_path}"
            return [f"{what}: name another file in data.vocab_path, or a new one, which is then built from them"]
        threshold = f"data.freq_threshold={self.freq_threshold}"
        if not self.known:
            return [
                f"no word of the training captions is frequent enough for {threshold}: lower it, or nothing is learnt"
            ]
        what = f"{self.unknown_share:.0%} of the words in the training captions are seen too seldom for {threshold}"
        return [f"{what} and become {UNKNOWN}: lower it"]


def coverage(
    stamp: str,
    train_split: Indices,
    captions_of: Callable[[int], Sequence[str]],
    freq_threshold: int,
    vocab_path: Path | None,
) -> Coverage:
    """What the vocabulary of a training split knows, counted once for each state of the data and remembered.

    `stamp`: the state of the data, empty where it is not worth remembering; `captions_of`: the captions of an image by
    its number. Errors are those of `load_vocabulary`.
    """
    given = load_vocabulary(vocab_path, freq_threshold) if vocab_path is not None and vocab_path.exists() else None

    def count() -> tuple[int, float, list[int]]:
        split = given.split if given is not None else tokenize
        seen, lengths = Counter[str](), Counter[int]()
        for image in train_split.tolist():
            for text in captions_of(image):
                words = split(text)
                seen.update(words)
                lengths[len(words)] += 1
        vocabulary = given or _of_counts(seen, freq_threshold)
        known = sum(
            n for word, n in seen.items() if all(part in vocabulary.word_to_idx for part in vocabulary.split(word))
        )
        by_length = [lengths[n] for n in range(max(lengths, default=0) + 1)]
        return len(vocabulary) - len(SPECIAL), 1.0 - known / max(1, seen.total()), by_length

    given_words = list(given.word_to_idx) if given is not None else []
    about = json.dumps([stamp, hashlib.sha256(train_split.tobytes()).hexdigest(), freq_threshold, RULES, given_words])
    key = hashlib.sha256(about.encode()).hexdigest()[:32]
    known, unknown_share, lengths = remembered("coverage", key, count) if stamp else count()
    return Coverage(known, unknown_share, lengths, freq_threshold, vocab_path if given is not None else None)
