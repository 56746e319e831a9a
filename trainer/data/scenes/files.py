"""Sets of scenes in the cache folder, each made once, and whole or not there at all."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainer.data.scenes.manifest import is_whole, write_manifest
from trainer.data.scenes.spec import SceneFiles, ScenesError, ScenesSpec, files_in
from trainer.data.scenes.write import write_scenes
from trainer.store.locks import locked


def scene_files(spec: ScenesSpec, cache_dir: Path) -> SceneFiles:
    """The paths of the scenes of `spec` under `cache_dir`, whether they exist or not."""
    return files_in(cache_dir / spec.key)


def ensure_scenes(spec: ScenesSpec, cache_dir: Path, progress: Callable[[int, int], None] | None = None) -> SceneFiles:
    """The scenes of `spec`, made first if they are not there or not whole.

    `progress(done, of)` is called after each picture that is drawn, and not at all where nothing is. Any
    number of processes may ask at once: one draws, the others wait and use its files.

    Raises:
        ScenesError: `cache_dir` cannot be written.
    """
    files = scene_files(spec, cache_dir)
    if is_whole(spec, files):
        return files
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with locked(cache_dir / f".{spec.key}.lock"):
            if not is_whole(spec, files):  # another process may have made them while this one waited
                _build(spec, files, progress or _silent)
    except OSError as error:
        raise ScenesError(
            f"cannot write the built-in scenes to {files.folder}: {error.strerror or error}. "
            "Set the environment variable RUNGWISE_CACHE to a folder that can be written."
        ) from error
    return files


def _build(spec: ScenesSpec, files: SceneFiles, progress: Callable[[int, int], None]) -> None:
    """Draw into a folder beside the final one and move it into place, so that no reader finds half a set."""
    parent = files.folder.parent
    for leftover in parent.glob(f".{spec.key}.*.tmp"):  # of a killed process: this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = parent / f".{spec.key}.{os.getpid()}.tmp"
    try:
        fresh.mkdir()
        write_scenes(spec, files_in(fresh), progress)
        write_manifest(spec, files_in(fresh))
        _move_into_place(fresh, spec, files)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _move_into_place(fresh: Path, spec: ScenesSpec, files: SceneFiles) -> None:
    damaged = fresh.with_name(f"{fresh.name}.old.tmp")
    with suppress(FileNotFoundError):
        files.folder.rename(damaged)
    try:
        fresh.rename(files.folder)
    except OSError:
        # Where locks have no effect (some network file systems) another process can be first: its files serve.
        if not is_whole(spec, files):
            raise
    finally:
        if damaged.is_dir():
            shutil.rmtree(damaged, ignore_errors=True)
        else:
            damaged.unlink(missing_ok=True)


def _silent(_done: int, _of: int) -> None:
    pass
