"""Built-in data: scenes of coloured shapes, written as ordinary images, captions and boxes."""

from trainer.scenes.files import ensure_scenes, scene_files
from trainer.scenes.spec import SceneFiles, ScenesError, ScenesSpec

__all__ = ["SceneFiles", "ScenesError", "ScenesSpec", "ensure_scenes", "scene_files"]
