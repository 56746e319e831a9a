"""Checks that the weight files which a configuration names exist, before anything runs. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from trainer.config.settings import RunConfig
from trainer.errors import DataError

SAFETENSORS = ".safetensors"
# First bytes of files by `torch.save`: those of a ZIP file, before version 1.6 those of a pickle.
_TORCH = (b"PK\x03\x04", b"\x80")
_POINTER = b"version https://git-lfs"
_SAVED = (SAFETENSORS, ".bin")
_DESCRIBED = "config.json"  # a file that every saved model of a hub's libraries has


def require_start(config: RunConfig, weights: Path | None) -> None:
    """`DataError` where the weights that a run starts from cannot be read; a run from a checkpoint needs none."""
    if config.checkpoint.resume is None and config.checkpoint.weights is None:
        require_weights("model.weights", weights)


def require_weights(key: str, path: Path | None) -> None:
    """`DataError` where the file that a key names is missing, or does not begin like a file of weights."""
    if path is None:
        return
    if path.is_dir():
        raise DataError(f"{path}: a folder; {key} names one file of weights, such as one in it")
    if not path.is_file():
        raise DataError(f"{path}: no such file of weights ({key})")
    try:
        with path.open("rb") as file:
            first = file.read(len(_POINTER))  # in a `.safetensors`, 8 bytes of length and a JSON object
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({key}): {error.strerror}") from None
    if first == _POINTER:
        raise DataError(f"{path}: only a pointer of Git LFS ({key}): `git lfs pull` fetches the weights themselves")
    if path.suffix == SAFETENSORS:
        if first[8:9] != b"{":
            raise DataError(f"{path}: not a file of weights ({key}): no {SAFETENSORS} begins like it")
    elif not first.startswith(_TORCH):
        what = f"torch.save has not written it, and its name does not end in {SAFETENSORS}"
        raise DataError(f"{path}: not a file of weights ({key}): {what}")


def require_model(key: str, name: str, subfolder: str | None = None, usual: str = "") -> None:
    """`DataError` where a key that takes a hub's name or a folder names a path, and no saved model is there.

    It is looked for in `subfolder`, where that is given, else at the top and in the `usual` one.
    """
    folder = Path(name).expanduser()
    if not (folder.is_absolute() or folder.is_dir() or name.startswith((".", "~"))):
        return
    if not folder.is_dir():
        raise DataError(f"{name}: no such folder ({key})")
    places = [folder / subfolder] if subfolder else [folder, folder / usual]
    described = [place for place in places if (place / _DESCRIBED).is_file()]
    if not described:
        where = " or ".join(dict.fromkeys(map(str, places)))
        raise DataError(f"{where}: no {_DESCRIBED} in it, so no saved model ({key})")
    if not any(path.suffix in _SAVED for path in described[0].iterdir()):
        raise DataError(f"{described[0]}: no weights in it ({', '.join(_SAVED)}), so no saved model ({key})")
