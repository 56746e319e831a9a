"""The vocabulary of captions: words and their numbers, kept as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import ConfigError, DataError, Problem
from trainer.store.cache_folder import cache_dir
from trainer.store.text import write_whole

PAD, START, END, UNKNOWN = "<PAD>", "<START>", "<END>", "<UNK>"
SPECIAL = (PAD, START, END, UNKNOWN)
_TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def tokenize(caption: str) -> list[str]:
    """Lower-case words and single punctuation marks."""
    return _TOKEN.findall(caption.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers: `word_to_idx` numbers them in order from 0, with the four special words."""

    word_to_idx: dict[str, int]
    freq_threshold: int

    def __len__(self) -> int:
        return len(self.word_to_idx)

    def encode(self, caption: str) -> list[int]:
        """Token numbers of a caption between <START> and <END>."""
        unknown = self.word_to_idx[UNKNOWN]
        numbers = [self.word_to_idx.get(word, unknown) for word in tokenize(caption)]
        return [self.word_to_idx[START], *numbers, self.word_to_idx[END]]

    def decode(self, numbers: Sequence[int]) -> str:
        """Words up to <END>, joined by spaces, without special words."""
        words = self.words
        end = self.word_to_idx[END]
        kept = list(numbers[: numbers.index(end)] if end in numbers else numbers)
        return " ".join(words[number] for number in kept if words[number] not in SPECIAL)

    @property
    def words(self) -> list[str]:
        return list(self.word_to_idx)

    def plain(self) -> dict[str, object]:
        return {"word_to_idx": self.word_to_idx, "freq_threshold": self.freq_threshold}


def build_vocabulary(captions: Iterable[str], freq_threshold: int) -> Vocabulary:
    """Words seen at least `freq_threshold` times, most frequent first, ties in the order of the alphabet."""
    counts = Counter(word for caption in captions for word in tokenize(caption))
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
        path = cache_dir() / "vocabulary" / f"{digest}-{freq_threshold}.json"
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
    """Reads a JSON vocabulary; another threshold, a pickle or a damaged file is a clear error."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}) (data.vocab_path)") from None
    if raw[:1] == b"\x80" or path.suffix in {".pkl", ".pickle"}:
        raise DataError(f"{path}: looks like a pickle, which can run code and is not opened; a vocabulary is JSON")
    try:
        content = json.loads(raw)
        word_to_idx, threshold = content["word_to_idx"], content["freq_threshold"]
        ordered = dict(sorted(word_to_idx.items(), key=lambda item: item[1]))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: expected JSON with word_to_idx and freq_threshold") from None
    whole = all(type(number) is int for number in ordered.values())
    if not whole or list(ordered.values()) != list(range(len(ordered))) or not set(SPECIAL) <= set(ordered):
        raise DataError(f"{path}: word_to_idx must number its words from 0 and hold {', '.join(SPECIAL)}")
    if threshold != freq_threshold:
        what = f"was built with freq_threshold {threshold}, the configuration says {freq_threshold}"
        raise ConfigError([Problem("data.vocab_path", f"{path} {what}; name another file or the same threshold")])
    return Vocabulary(ordered, threshold)
