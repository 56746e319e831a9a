"""Captions as words, in every script: split into tokens, and put together again. Imports no torch.

Words are compared in lower case and in Unicode's normal form C. Source of the classes of characters: Unicode Standard
Annex 44.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import regex

RULES = 1  # those below; what depends on them is kept under their number

# Letters of scripts that put no blanks between words: each of them, with its marks, is a token.
_ALONE = (
    r"[[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Javanese}\p{Tai_Tham}"
    r"\u30fc\uff70]&&[\p{L}\p{Nl}]]"
)
_EXTENDING = r"[\p{M}\u200c\u200d]"  # marks and zero-width joiners belong to the letter before them
_IN_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--{_ALONE}]"
_IN_NUMBER = r"(?<=\p{Nd})[.,\u066b\u066c\uff0e\uff0c](?=\p{Nd})"  # 3.50 and 1,000 are one token, also in Arabic
_PART = rf"{_IN_WORD}+(?:{_IN_NUMBER}{_IN_WORD}+)*"
# A stacked consonant of Khmer or Burmese stays with the one above it. What is neither letter nor number is a token for
# itself, an emoji with all that it is made of.
_TOKEN = regex.compile(
    rf"(?V1){_PART}(?:['’·׳״-]{_PART})*"
    rf"|{_ALONE}(?:[\u0e33\u0eb3]|{_EXTENDING}|(?<=[\u1039\u17d2]){_ALONE})*"
    rf"|(?!\s)\X{_EXTENDING}*"
)
# The same for ASCII, which is most of all captions, and several times as fast.
_ASCII_PART = r"\w+(?:(?<=\d)[.,](?=\d)\w+)*"
_ASCII_TOKEN = re.compile(rf"{_ASCII_PART}(?:['-]{_ASCII_PART})*|[^\w\s]", re.ASCII)
# Signs of direction, soft hyphens and the like are not seen; of these only joiners and the letters of flags count.
_UNSEEN = regex.compile(r"(?V1)[\p{Cf}--[\u200b\u200c\u200d\U000e0020-\U000e007f]]+")
_BLANK = regex.compile(r"[\p{Cc}\p{Cs}\u200b]+")
_BASELESS = regex.compile(rf"(?V1)(?<!\S){_EXTENDING}+")
_STANDS_ALONE = regex.compile(rf"(?V1){_ALONE}")
_OPENING = regex.compile(r"[\p{Ps}\p{Pi}¿¡]")
_CLOSING = regex.compile(r"[\p{Terminal_Punctuation}\p{Pe}\p{Pf}…]")
_MERGING = regex.compile(r"[\u1039\u17d2].|.[\u0e33\u0eb3\p{Emoji_Modifier}]")  # would be one token, without a blank
_CLOSES = {'"': '"', "'": "'", "“": "„"}  # marks that may close what this mark has opened; else they open


def normal(caption: str) -> str:
    """A caption in lower case, in normal form C, without characters that are not seen."""
    if not caption.isascii():
        caption = unicodedata.normalize("NFC", _UNSEEN.sub("", caption))
    caption = _BLANK.sub(" ", caption.lower())
    return caption if caption.isascii() else _BASELESS.sub("", unicodedata.normalize("NFC", caption))


def tokenize(caption: str) -> list[str]:
    """Lower-case words, numbers and single marks; of scripts without blanks the characters with their marks."""
    text = normal(caption)
    return _ASCII_TOKEN.findall(text) if text.isascii() else [str(token) for token in _TOKEN.findall(text)]


def joined(words: Iterable[str]) -> str:
    """Words put together as they are written: `tokenize` gives the same words again."""
    text, glued, before = "", True, ""
    pending: set[str] = set()
    for word in words:
        opens, closes = bool(_OPENING.match(word)), bool(_CLOSING.match(word))
        opener = _CLOSES.get(word)
        if opener is not None:
            closes = opener in pending
            opens = not closes
            pending.discard(opener)
        if opens:
            pending.add(word)
        close = glued or closes or _STANDS_ALONE.match(word) or _STANDS_ALONE.match(before)
        text += word if close and not _MERGING.match(before[-1:] + word[:1]) else f" {word}"
        glued, before = opens, word
    return text


def as_written(caption: str) -> str:
    """A caption in the one form in which captions are compared: split into words and put together again."""
    return joined(tokenize(caption))


_LETTERS = {
    "kana": regex.compile(r"(?V1)[\p{Hiragana}\p{Katakana}]"),
    "han": regex.compile(r"[\p{Han}\p{Bopomofo}]"),
    "alone": _STANDS_ALONE,
    "western": regex.compile(r"(?V1)[[\p{Latin}\p{Cyrillic}\p{Greek}]&&\p{L}]"),
    "all": regex.compile(r"\p{L}"),
}
_SOME = 0.1


def bleu_tokenizer(captions: Sequence[str]) -> str:
    """The tokenizer of sacrebleu for the script in which captions are written, of those that need no other package.

    `13a`, its default, knows the marks of Latin, Cyrillic and Greek text; `intl` those of other scripts with blanks;
    `zh` is for Chinese, and `char` for Japanese and other scripts without blanks.
    """
    text = "\n".join(captions)
    if text.isascii():
        return "13a"
    count = {name: sum(1 for _ in letters.finditer(text)) for name, letters in _LETTERS.items()}
    if count["alone"] > _SOME * count["all"]:
        chinese = count["han"] > count["alone"] / 2 and count["kana"] < _SOME * count["alone"]
        return "zh" if chinese else "char"
    return "13a" if count["western"] >= count["all"] / 2 else "intl"
