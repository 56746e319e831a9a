"""The rooms of `orchestrator`: which may import which, how large they are, and where each library is at home.

What the measuring functions notice is tested beside `trainer`'s rooms.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import rooms

ORCHESTRATOR = Path(__file__).resolve().parents[2] / "orchestrator"
# A room → the rooms that it may import. Each is below those that import it.
ALLOWED: dict[str, set[str]] = {
    "study": set(),
    "slots": set(),
    "storage": {"study"},
    "results": {"study"},
    "samplers": {"study"},
    "policies": {"study"},
    "planning": {"policies", "results", "samplers", "slots", "study"},
    "engine": {"policies", "results", "samplers", "slots", "storage", "study"},
    "output": {"engine", "results", "slots", "storage", "study"},
    "commands": {"engine", "output", "planning", "results", "slots", "storage", "study"},
    "notebook": {"results", "storage"},
    "orchestrator": {"notebook"},
    "__main__": {"commands"},
}
LARGEST_SHARE, MOST_ENTRIES = 0.2, 15
# A library → the modules, or rooms with all in them, that alone may import it.
HOMES: dict[str, tuple[str, ...]] = {
    "optuna": (
        "orchestrator.storage",
        "orchestrator.samplers",
        "orchestrator.policies",
        "orchestrator.study.space",
        "orchestrator.commands.dashboard",
    ),
    "optuna_dashboard": ("orchestrator.storage", "orchestrator.commands.dashboard"),
    "sqlalchemy": ("orchestrator.storage",),
    "fcntl": ("orchestrator.storage",),
    "typer": ("orchestrator.commands",),
    "rich": ("orchestrator.commands", "orchestrator.output"),
    "multiprocessing": ("orchestrator.slots",),
    "torch": ("orchestrator.slots",),
    "PIL": ("orchestrator.output.sample_sheet",),
    "plotly": ("orchestrator.notebook",),
    "reports": ("orchestrator.results", "orchestrator.output", "orchestrator.notebook"),
}


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    return rooms.module_arrows(ORCHESTRATOR)


def test_every_room_has_its_line_in_the_table() -> None:
    assert set(rooms.lines_by_room(ORCHESTRATOR)) == set(ALLOWED)


def test_rooms_import_only_the_rooms_below_them(arrows: dict[str, set[str]]) -> None:
    assert rooms.forbidden_arrows(arrows, ALLOWED) == []
    assert rooms.circle(ALLOWED) == []


def test_the_table_allows_no_arrow_that_nothing_needs(arrows: dict[str, set[str]]) -> None:
    assert rooms.room_arrows(arrows) == ALLOWED


def test_no_circle_between_files(arrows: dict[str, set[str]]) -> None:
    assert rooms.circle(arrows) == []


def test_no_room_is_most_of_the_house() -> None:
    assert rooms.too_large_rooms(rooms.lines_by_room(ORCHESTRATOR), LARGEST_SHARE) == {}
    assert len(rooms.entries_at_the_top(ORCHESTRATOR)) <= MOST_ENTRIES


def test_a_room_says_its_purpose_and_nothing_else() -> None:
    assert rooms.init_files_with_code(ORCHESTRATOR, exempt=("orchestrator",)) == []


def test_libraries_stay_at_home() -> None:
    assert rooms.libraries_away_from_home(rooms.library_uses(ORCHESTRATOR), HOMES) == []


def test_no_other_file_knows_a_policy_by_its_name() -> None:
    """What tells policies apart stands in their kinds: a new one is a file and a line."""
    for module, path in rooms.modules_of(ORCHESTRATOR).items():
        if not module.startswith("orchestrator.policies."):
            text = path.read_text(encoding="utf-8")
            assert not [name for name in ('"halving"', '"median"', '"hyperband"', '"percentile"') if name in text], path
