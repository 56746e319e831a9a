"""Commands, flags, exit statuses, `trainer.api`, and the structure of plans: what users and their programs rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compat_parts import golden
from surface_parts import (
    CALLS,
    QUICK_CALLS,
    all_help,
    fresh_workplace,
    plan_structure,
    signatures,
    status_of,
    write_plans,
)


def test_commands_arguments_and_flags_with_kinds_and_defaults(tmp_path: Path) -> None:
    found, recorded = all_help(tmp_path), golden("help.json")
    assert found.keys() == recorded.keys()
    for command, facts in recorded.items():
        assert found[command] == facts, command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_workplace(tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize(("call", "status"), QUICK_CALLS.items())
def test_exit_statuses_of_what_is_soon_refused(call: str, status: int, place: Path) -> None:
    check_call(call, status, place)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "status"), CALLS.items())
def test_exit_statuses(call: str, status: int, place: Path) -> None:
    check_call(call, status, place)


def check_call(call: str, status: int, place: Path) -> None:
    done = status_of(call, place)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == status, said
    assert "Traceback" not in said
    if status:
        assert done.stderr.strip() or call in ("orchestrator", "trainer"), "what went wrong is said on stderr"


def test_the_training_door_has_the_same_names() -> None:
    from trainer import api

    assert sorted(api.__all__) == [*golden("api.json")]


@pytest.mark.parametrize("name", golden("api.json"))
def test_the_training_door_takes_what_it_took(name: str) -> None:
    """More may be taken, where nobody needs to give it, and more may be offered."""
    recorded, found = golden("api.json")[name], signatures()[name]
    if isinstance(recorded, str):
        assert found == recorded
        return
    missing = [parameter for parameter in recorded["takes"] if parameter not in found["takes"]]
    assert not missing
    by_place = [parameter for parameter in found["takes"] if parameter in recorded["takes"]]
    assert by_place == recorded["takes"], "in the same order"
    new = [parameter for parameter in found["takes"] if parameter not in recorded["takes"]]
    assert not [parameter for parameter in new if " = " not in parameter and not parameter.startswith("*")]
    assert not set(recorded.get("has", ())) - set(found.get("has", ()))


def test_every_task_promises_the_same() -> None:
    from trainer import testing

    assert not set(golden("contract.json")) - set(dir(testing.TaskContract))


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {name: plan_structure(path) for name, path in write_plans(tmp_path_factory.mktemp("plans")).items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", golden("plans.json"))
def test_the_plan_has_the_same_keys(name: str, plans: dict[str, Any]) -> None:
    assert plans[name] == golden("plans.json")[name]
