"""Words and their numbers, in JSON that is trusted only as far as it is checked."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.api import ConfigError, DataError, cache_dir
from trainer.data.vocabulary import (
    END,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    Coverage,
    Vocabulary,
    build_vocabulary,
    coverage,
    load_vocabulary,
    tokenize,
    vocabulary_for,
)

CAPTIONS = ["A red circle.", "a red square", "A blue circle!", "don't  stop"]


def test_words_and_punctuation_in_lower_case() -> None:
    assert tokenize("A red-ish circle, isn't it?") == ["a", "red-ish", "circle", ",", "isn't", "it", "?"]
    assert tokenize("Été 2024") == ["été", "2024"]
    assert tokenize("   ") == []


def test_the_most_frequent_words_come_first_and_ties_by_alphabet() -> None:
    words = build_vocabulary(CAPTIONS, 1).words
    assert words[:4] == list(SPECIAL) == [PAD, START, END, UNKNOWN]
    assert words[4:7] == ["a", "circle", "red"]
    assert words[7:] == ["!", ".", "blue", "don't", "square", "stop"]


@pytest.mark.parametrize(("threshold", "kept"), [(1, 9), (2, 3), (3, 1), (4, 0)])
def test_rarer_words_become_unknown(threshold: int, kept: int) -> None:
    vocabulary = build_vocabulary(CAPTIONS, threshold)
    assert len(vocabulary) == len(SPECIAL) + kept
    unknown = vocabulary.word_to_idx[UNKNOWN]
    assert (vocabulary.encode("red")[1] == unknown) == (threshold > 2)
    assert vocabulary.encode("purple")[1] == unknown


@given(st.lists(st.sampled_from(tokenize(" ".join(CAPTIONS))), max_size=12))
def test_known_words_survive_the_round_trip(words: list[str]) -> None:
    vocabulary = build_vocabulary(CAPTIONS, 1)
    numbers = vocabulary.encode(" ".join(words))
    assert numbers[0] == vocabulary.word_to_idx[START]
    assert numbers[-1] == vocabulary.word_to_idx[END]
    assert tokenize(vocabulary.decode(numbers)) == tokenize(" ".join(words))
    assert vocabulary.decode([*numbers, *numbers]) == vocabulary.decode(numbers), "what follows the end does not count"


def test_special_words_are_left_out_of_a_caption() -> None:
    vocabulary = build_vocabulary(CAPTIONS, 1)
    assert vocabulary.decode(vocabulary.encode("red purple circle")) == "red circle"
    assert vocabulary.decode([]) == ""


def test_a_saved_vocabulary_is_loaded_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "words.json"
    built = vocabulary_for(CAPTIONS, 2, path)
    assert load_vocabulary(path, 2) == built
    assert vocabulary_for(["other captions"], 2, path) == built, "a file that exists is used"
    assert set(json.loads(path.read_text())) == {"word_to_idx", "freq_threshold"}
    assert [item.name for item in path.parent.iterdir()] == ["words.json"]


def test_without_a_path_it_is_kept_by_captions_and_threshold() -> None:
    folder = cache_dir() / "vocabulary"
    before = set(folder.iterdir()) if folder.exists() else set()
    one = vocabulary_for(CAPTIONS, 1, None)
    assert vocabulary_for(CAPTIONS, 1, None) == one
    assert vocabulary_for(CAPTIONS, 2, None) != one
    assert vocabulary_for(CAPTIONS[:3], 1, None) != one
    assert len(set(folder.iterdir()) - before) == 3


def test_another_threshold_is_a_mistake_that_names_both(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    vocabulary_for(CAPTIONS, 2, path)
    with pytest.raises(ConfigError, match=r"data\.vocab_path: .*freq_threshold 2, the configuration says 5"):
        vocabulary_for(CAPTIONS, 5, path)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["words.pkl", "words.json", "words.pickle"])
def test_a_pickle_is_refused_unopened(name: str, tmp_path: Path) -> None:
    path, mark = tmp_path / name, tmp_path / "ran"
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(DataError, match="looks like a pickle"):
        vocabulary_for(CAPTIONS, 1, path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["words.pkl", "words.pickle", "words.txt"])
def test_json_is_read_whatever_its_name(name: str, tmp_path: Path) -> None:
    """The first run of a study writes the file, and all others read it."""
    built = vocabulary_for(CAPTIONS, 1, tmp_path / name)
    assert vocabulary_for(["other captions"], 1, tmp_path / name) == built


OLDER: dict[str, tuple[str, list[str]]] = {  # what an older version took for the words of a caption
    "decimals": ("It costs 3.50!", ["it", "costs", "3", ".", "50", "!"]),
    "marks": ("क्या", ["क", "्", "य", "ा"]),
    "decomposed": ("cafe\u0301 noir", ["cafe", "\u0301", "noir"]),
    "no blanks": ("猫在垫子上。", ["猫在垫子上", "。"]),
    "emoji": ("👍🏽 hi", ["👍", "🏽", "hi"]),
}


@pytest.mark.parametrize("case", sorted(OLDER))
def test_an_older_vocabulary_splits_captions_as_it_did(case: str) -> None:
    caption, words = OLDER[case]
    vocabulary = Vocabulary({word: index for index, word in enumerate([*SPECIAL, *words])}, 1)
    assert vocabulary.encode(caption) == [1, *range(4, 4 + len(words)), 2]


def test_a_vocabulary_of_ones_own_is_used_by_the_rules_of_today() -> None:
    words = {word: index for index, word in enumerate([*SPECIAL, "क्या", "3.50", "猫"])}
    assert Vocabulary(words, 1).encode("क्या 3.50 猫 4.50") == [1, 4, 5, 6, 3, 2]


def known_of(captions: list[str], threshold: int, path: Path | None = None, stamp: str = "") -> Coverage:
    return coverage(stamp, np.arange(len(captions)), lambda image: [captions[image]], threshold, path)


def test_what_a_vocabulary_does_not_know_is_said(tmp_path: Path) -> None:
    found = known_of(CAPTIONS, 2)
    assert (found.known, round(found.unknown_share, 3)) == (3, round(6 / 13, 3))
    assert found.words == "a vocabulary of 3 words, to which 46.2% of the training captions' words are unknown"
    (said,) = found.warnings
    assert said.startswith("46% of the words in the training captions are seen too seldom for data.freq_threshold=2")
    assert known_of(CAPTIONS, 1).warnings == []
    (said,) = known_of(CAPTIONS, 5).warnings
    assert said.startswith("no word of the training captions is frequent enough for data.freq_threshold=5: lower it")
    vocabulary_for(["rouge bleu"], 1, tmp_path / "words.json")
    (said,) = known_of(CAPTIONS, 1, tmp_path / "words.json").warnings
    assert said.startswith(
        f"100% of the words in the training captions are not in {tmp_path / 'words.json'}: name anoth"
    )
    assert known_of(CAPTIONS, 1, tmp_path / "new.json").warnings == []
    assert not (tmp_path / "new.json").exists(), "a check writes nothing of the user's"


def test_it_is_counted_once_for_each_state_of_the_data() -> None:
    first = known_of(CAPTIONS, 2, stamp="a state")
    assert known_of(["never read"] * 4, 2, stamp="a state") == first
    assert known_of(CAPTIONS, 1, stamp="a state") != first
    assert known_of(CAPTIONS[:3], 2, stamp="a state") != first


GOOD = {word: index for index, word in enumerate([*SPECIAL, "red"])}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1, 2]",
        "{}",
        '{"word_to_idx": ["a"], "freq_threshold": 1}',
        '{"word_to_idx": {"a": "x", "b": 1}, "freq_threshold": 1}',
        json.dumps({"word_to_idx": {**GOOD, "red": 9}, "freq_threshold": 1}),
        json.dumps({"word_to_idx": {**GOOD, "red": 4.0}, "freq_threshold": 1}),
        json.dumps({"word_to_idx": {**GOOD, "red": 3}, "freq_threshold": 1}),
        json.dumps({"word_to_idx": {"red": 0}, "freq_threshold": 1}),
        "\xff",
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(content: str, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"words\.json"):
        load_vocabulary(path, 1)


def test_the_order_in_the_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    backwards = dict(reversed(GOOD.items()))
    path.write_text(json.dumps({"word_to_idx": backwards, "freq_threshold": 1}))
    assert load_vocabulary(path, 1) == Vocabulary(GOOD, 1)
    assert load_vocabulary(path, 1).words == list(GOOD)


def test_a_place_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        vocabulary_for(CAPTIONS, 1, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written.*data\.vocab_path"):
        vocabulary_for(CAPTIONS, 1, tmp_path / "file" / "words.json")


def test_it_is_readable_by_others(tmp_path: Path) -> None:
    """A shared cache serves more than one account."""
    path = tmp_path / "words.json"
    vocabulary_for(CAPTIONS, 1, path)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
