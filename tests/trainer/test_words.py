"""Captions of every script as words: a captioner that says them again word by word is perfect."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.vocabulary import build_vocabulary
from trainer.data.words import as_written, bleu_tokenizer, joined, tokenize
from trainer.tasks.captioning.bleu import corpus_bleu

CASES: dict[str, tuple[str, list[str]]] = {
    "numbers": ("3.50, 1,000 and 1,234.5.", ["3.50", ",", "1,000", "and", "1,234.5", "."]),
    "number with a unit": ("v2.0 is 5th", ["v2.0", "is", "5th"]),
    "decomposed": (unicodedata.normalize("NFD", "Été à café"), ["été", "à", "café"]),
    "vietnamese": (unicodedata.normalize("NFD", "Một con mèo"), ["một", "con", "mèo"]),
    "hindi": ("क्या यह लाल है?", ["क्या", "यह", "लाल", "है", "?"]),
    "tamil": ("ஒரு பூனை", ["ஒரு", "பூனை"]),
    "arabic": ("قِطّة، ٣٫٥٠", ["قِطّة", "،", "٣٫٥٠"]),
    "persian": ("می‌خواهم", ["می‌خواهم"]),
    "hebrew": ("שָׁלוֹם צה״ל", ["שָׁלוֹם", "צה״ל"]),
    "direction marks": ("\u200fשלום\u200e", ["שלום"]),
    "chinese": ("一只猫，3.50元。", ["一", "只", "猫", "，", "3.50", "元", "。"]),
    "mixed": ("iPhone手机", ["iphone", "手", "机"]),
    "japanese": ("赤いデータ", ["赤", "い", "デ", "ー", "タ"]),
    "thai": ("นั่งกำ", ["นั่", "ง", "กำ"]),
    "khmer": ("ស្ត្រី", ["ស្ត្រី"]),
    "korean": ("고양이가 있다", ["고양이가", "있다"]),
    "emoji": ("👩‍👩‍👧‍👦👍🏽🇩🇪❤️", ["👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "❤️"]),
    "german": ("STRASSE Straße", ["strasse", "straße"]),
    "turkish": ("İstanbul", ["i̇stanbul"]),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_words_of_many_scripts(case: str) -> None:
    caption, words = CASES[case]
    assert tokenize(caption) == [unicodedata.normalize("NFC", word) for word in words]
    assert tokenize(joined(words)) == tokenize(caption)


@pytest.mark.parametrize(
    ("caption", "written"),
    [
        ("A red circle .", "a red circle."),
        ('He said: "It\'s (well-known)..."', 'he said: "it\'s (well-known)..."'),
        ("“Curly” ‘quotes’ and „German“ ones", "“curly” ‘quotes’ and „german“ ones"),
        ("¿Qué es? ¡Sí!", "¿qué es? ¡sí!"),
        ("一只 猫 。", "一只猫。"),
        ("यह लाल है ।", "यह लाल है।"),
    ],
)
def test_captions_as_they_are_written(caption: str, written: str) -> None:
    assert as_written(caption) == written


SCRIPTS = [
    "a red-ish circle, isn't it?", "costs 3.50 or 1,000", "straße", "İSTANBUL ılık", "dogs' 'bowls'", "wait...what…",
    "don’t “stop”", "a/b & (c) [d]", "Cafe\u0301 à côté", unicodedata.normalize("NFD", "một con mèo ngồi"), "¿Qué?",
    "--", "$5 50% 5°", "&amp;", "ΟΔΟΣ", "собака бежит", "قطة على، السجادة؟", "שָׁלוֹם צה\"ל", "क्या यह लाल है।",
    "ஒரு பூனை", "고양이가 앉아 있다.", "แมวนั่งกำลัง", "赤い猫、データ。", "一只猫坐在3.50元上。", "ខ្មែរស្ត្រី",
    "ລາວ", "မြန်မာစာ",    "👩\u200d👩\u200d👧\u200d👦👍🏽", "🇩🇪🇫🇷 1️⃣",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(SCRIPTS) | st.text(min_size=1, max_size=6), min_size=1, max_size=4)
                .map(" ".join).filter(tokenize), min_size=1, max_size=4), st.sampled_from([" ", ""]))  # fmt: skip
def test_a_perfect_captioner_scores_100(captions: list[str], between: str) -> None:
    captions = [caption.replace(" ", between) for caption in captions]
    vocabulary = build_vocabulary(captions, 1)
    said = [vocabulary.decode(vocabulary.encode(caption)) for caption in captions]
    assert [tokenize(text) for text in said] == [tokenize(caption) for caption in captions]
    for tokenizer in (None, "13a", "intl", "zh", "char"):
        assert corpus_bleu(said, [[caption] for caption in captions], True, tokenizer) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("captions", "tokenizer"),
    [
        (["a red circle"], "13a"),
        (["un café", "eine Straße"], "13a"),
        (["3.50", "👍"], "13a"),
        (["собака"], "13a"),
        (["a dog 狗 by the sea in summer"], "13a"),
        (["一只 dog 在 running"], "zh"),
        (["ひとつの猫"], "char"),
        (["東京都の新宿駅"], "char"),
        (["แมว"], "char"),
        (["यह लाल है"], "intl"),
        (["고양이가"], "intl"),
    ],
)
def test_the_script_decides_about_the_tokenizer(captions: list[str], tokenizer: str) -> None:
    assert bleu_tokenizer(captions) == tokenizer
