"""Values as people write them: names of classes, precisions, devices. The only file that knows them.

`AdamW`, `torch.optim.AdamW` and `adamw` are one value of `training.optimizer.type`. Case, hyphens, underscores and
spaces count nowhere where a key has names to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trainer.config.keys import Key

_LOSSES = {f"{name}loss": name for name in ("crossentropy", "bce", "bcewithlogits", "mse", "l1", "smoothl1")}
# Key → another name, without case and signs → the value, or its name in the same form.
WRITTEN: Mapping[str, Mapping[str, str]] = {
    "criterion.type": _LOSSES,
    "training.precision": {
        "true": "auto", "false": "fp32", "no": "fp32",
        **dict.fromkeys(("16", "16mixed", "16true", "float16"), "fp16"),
        **dict.fromkeys(("bf16mixed", "bf16true", "bfloat16"), "bf16"),
        **dict.fromkeys(("32", "32true", "float32"), "fp32"),
    },
    "training.scheduler.type": {
        "reducelronplateau": "reduceonplateau", "steplr": "step", "cosineannealinglr": "cosine",
        "onecyclelr": "onecycle", "constantlr": "constant",
    },
    "training.scheduler.anneal_strategy": {"cosine": "cos"},
}  # fmt: skip


def meant(key: Key, value: Any) -> Any:
    """The choice of a key that a value names; the value itself where it names none, or more than one."""
    if value in key.choices or not isinstance(value, str | int):
        return value
    # Lightning's precisions are numbers, and the older switch of mixed precision is true or false.
    if not isinstance(value, str) and key.path != "training.precision":
        return value
    name = _plain(str(value))
    name = WRITTEN.get(key.path, {}).get(name, name)
    found = [choice for choice in key.choices if _plain(str(choice)) == name]
    return found[0] if len(found) == 1 else value


def _plain(text: str) -> str:
    """A name without the module before it, case, hyphens, underscores and spaces."""
    return re.sub(r"[-_\s]", "", re.sub(r"^(torch\.|nn\.|optim\.|lr_scheduler\.)+", "", text.strip())).lower()


def _device(value: Any) -> Any:
    """`gpu` is `cuda`, and a number alone one of its devices."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    text = str(value).strip().lower()
    text = text.replace("gpu", "cuda", 1) if text.startswith("gpu") else text
    return f"cuda:{text}" if re.fullmatch(r"\d+", text) else text


# Keys of text with spellings of their own.
READ: Mapping[str, Callable[[Any], Any]] = {"device": _device}
