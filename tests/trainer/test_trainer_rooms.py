"""The rooms of `trainer`: which may import which, how large they are, and where each library is at home."""

from __future__ import annotations

from pathlib import Path

import pytest
import rooms

ROOT = Path(__file__).resolve().parents[2]

TRAINER = ROOT / "trainer"
# A room → the rooms that it may import. Each stands below those that import it.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "outcome": set(),
    "store": {"errors"},
    "config": {"errors"},
    "checkpoints": {"config", "errors"},
    "task": {"store", "errors"},
    "data": {"task", "config", "store", "errors"},
    "learning": {"task", "config", "errors"},
    "run": {"data", "learning", "task", "checkpoints", "config", "store", "errors", "outcome"},
    "tasks": {"data", "learning", "task", "checkpoints", "config", "store", "errors"},
    "api": {"run", "data", "task", "config", "store", "errors", "outcome"},
    "testing": {"api", "run", "data", "learning", "task", "checkpoints", "config"},
    "cli": {"api", "config", "store", "errors", "outcome"},
    "__main__": {"cli"},
    "trainer": set(),
}
LARGEST_SHARE, MOST_ENTRIES = 0.2, 15
WITH_TORCH = ("store", "checkpoints", "task", "data", "learning", "run", "tasks", "testing")
# A library → the modules, or rooms with all in them, that alone may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "typer": ("trainer.cli",),
    "rich": ("trainer.cli",),
    "yaml": ("trainer.config.yaml",),
    "pydantic": ("trainer.config", "trainer.tasks"),
    "fcntl": ("trainer.store.locks",),
    "joblib": ("trainer.store.image_cache",),
    "pyarrow": ("trainer.data.datasets_folder",),
    "concurrent": ("trainer.checkpoints.background",),
    "safetensors": ("trainer.checkpoints.weights",),
    "wandb": ("trainer.run.trackers",),
    "pytest": ("trainer.testing",),
    "regex": ("trainer.data.words",),
    "sacrebleu": ("trainer.tasks.captioning.bleu",),
    "nltk": ("trainer.tasks.captioning.bleu",),
    "faster_coco_eval": ("trainer.tasks.detection.coco_map",),
    "timm": ("trainer.tasks.classification.backbones",),
    "diffusers": ("trainer.tasks.diffusion",),
    "huggingface_hub": ("trainer.tasks.diffusion.published_parts",),
    "transformers": ("trainer.tasks.detection.model", "trainer.tasks.diffusion.text"),
    "torchvision": ("trainer.tasks", "trainer.api"),  # the door imports it ahead of need
    "torch": (*(f"trainer.{room}" for room in WITH_TORCH), "trainer.api"),
}


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return rooms.module_arrows(TRAINER)


def test_every_room_has_its_line_in_the_table() -> None:
    assert set(rooms.lines_by_room(TRAINER)) == set(ALLOWED)


def test_rooms_import_only_the_rooms_below_them(arrows: dict[str, set[str]]) -> None:
    assert rooms.forbidden_arrows(arrows, ALLOWED) == []
    assert rooms.circle(ALLOWED) == []


def test_the_table_allows_no_arrow_that_nothing_needs(arrows: dict[str, set[str]]) -> None:
    assert rooms.room_arrows(arrows) == ALLOWED


def test_a_wrong_arrow_is_noticed(arrows: dict[str, set[str]]) -> None:
    upwards = arrows | {"trainer.store.text": {"trainer.errors", "trainer.run.loop"}}
    assert rooms.forbidden_arrows(upwards, ALLOWED) == ["trainer.store.text → trainer.run.loop"]


def test_imports_in_functions_and_for_type_checking_count() -> None:
    source = "if TYPE_CHECKING:\n    import a.b\ndef f():\n    from c import d\n"
    assert rooms.imported_names(source) == {"a.b", "c", "c.d"}


def test_no_circle_between_files_or_rooms(arrows: dict[str, set[str]]) -> None:
    assert rooms.circle(arrows) == []
    assert rooms.circle(rooms.room_arrows(arrows)) == []


def test_a_circle_is_noticed() -> None:
    assert rooms.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c", "b"]


def test_no_task_imports_another(arrows: dict[str, set[str]]) -> None:
    assert rooms.siblings_that_import_each_other(arrows, "trainer.tasks") == []


def test_a_task_that_imports_another_is_noticed() -> None:
    arrows = {"trainer.tasks.a.rows": {"trainer.tasks.b.rows", "trainer.tasks.a.config", "trainer.data.splits"}}
    assert rooms.siblings_that_import_each_other(arrows, "trainer.tasks") == [
        "trainer.tasks.a.rows → trainer.tasks.b.rows"
    ]


def test_no_room_is_most_of_the_house() -> None:
    assert rooms.too_large_rooms(rooms.lines_by_room(TRAINER), LARGEST_SHARE, exempt=("tasks",)) == {}


def test_a_large_room_is_noticed() -> None:
    assert rooms.too_large_rooms({"a": 30, "b": 10, "tasks": 60}, LARGEST_SHARE, exempt=("tasks",)) == {"a": 0.3}


def test_the_top_fits_on_a_screen(tmp_path: Path) -> None:
    assert len(rooms.entries_at_the_top(TRAINER)) <= MOST_ENTRIES
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "a.py").touch()
    assert rooms.entries_at_the_top(tmp_path) == ["a.py"]


def test_a_room_says_its_purpose_and_nothing_else(tmp_path: Path) -> None:
    assert rooms.init_files_with_code(TRAINER, exempt=("trainer.testing",)) == []
    (tmp_path / "__init__.py").write_text('"""A house."""\nimport os\n', encoding="utf-8")
    assert rooms.init_files_with_code(tmp_path) == [tmp_path.name]


def test_libraries_stay_at_home() -> None:
    assert rooms.libraries_away_from_home(rooms.library_uses(TRAINER), HOMES) == []


def test_a_library_away_from_home_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('def f():\n    import torch.nn\nMODEL = "timm.models:create"\n', encoding="utf-8")
    uses = rooms.library_uses(tmp_path)
    homes = {"torch": ("elsewhere",), "timm": ("elsewhere",), "torch_other": ("elsewhere",)}
    module = f"{tmp_path.name}.a"
    assert rooms.libraries_away_from_home(uses, homes) == [f"{module} → timm", f"{module} → torch"]
    assert rooms.libraries_away_from_home(uses, {"torch": (tmp_path.name,), "timm": (module,)}) == []
