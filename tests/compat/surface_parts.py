"""What users and their programs can see of the commands, the training door, and the files of a run, as plain data."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml
from compat_parts import code_root, python, shape_of, workplace

MODULES: dict[str, tuple[str, ...]] = {
    "orchestrator": ("", "run", "plan", "status", "report", "dashboard", "promote", "retry", "close"),
    "trainer": ("", "train", "config", "evaluate", "predict"),
}
OPTION = re.compile(r"^│ (\*?) *(-{0,2}[a-z][\w.,/-]*(?: +-[\w-]+)*) +(<[^>]+>|\[[^\]]+\]|[A-Z]+)? ")
DEFAULT = re.compile(r"\[default: ([^\]]*)\]")
COMMAND = re.compile(r"^│ ([a-z]+) ")

# Arguments, and the status that they end with. Files: see `workplace`; outputs/ladder is the study that was killed.
CALLS: dict[str, int] = {
    "orchestrator": 2,
    "orchestrator plan ladder.yaml": 0,
    "orchestrator plan small.yaml --json": 0,
    "orchestrator plan small.yaml --study other data.rows=40": 0,
    "orchestrator plan small.yaml data.rows=40": 2,
    "orchestrator plan small.yaml model.start=0.3": 2,
    "orchestrator plan nothing.yaml": 2,
    "orchestrator plan toy.yaml": 2,
    "orchestrator plan small.yaml --pruner nobody": 2,
    "orchestrator plan small.yaml --sampler nobody": 2,
    "orchestrator plan small.yaml --n-trials 0": 2,
    "orchestrator plan small.yaml --ladder 3x10,1x10": 2,
    "orchestrator plan small.yaml --base-config nothing.yaml": 2,
    "orchestrator plan small.yaml model.strat=0.3": 2,
    "orchestrator plan small.yaml training.epochs=many": 2,
    "orchestrator plan small.yaml --timeout soon": 2,
    "orchestrator plan ladder.yaml --seed 6": 2,
    "orchestrator run small.yaml --nothing": 2,
    "orchestrator run small.yaml --workers 0": 2,
    "orchestrator nothing": 2,
    "orchestrator status outputs/ladder": 0,
    "orchestrator status outputs/nothing": 2,
    "orchestrator status": 2,
    "orchestrator report outputs/nothing": 2,
    "orchestrator promote outputs/nothing": 2,
    "orchestrator promote outputs/ladder --top 0": 2,
    "orchestrator promote outputs/ladder --from nowhere": 2,
    "orchestrator retry outputs/ladder": 2,
    "orchestrator retry outputs/nothing --failed": 2,
    "orchestrator close outputs/nothing": 2,
    "orchestrator dashboard outputs/nothing": 2,
    "trainer": 2,
    "trainer config detection": 0,
    "trainer config toy:Toy": 0,
    "trainer config nothing": 2,
    "trainer config": 2,
    "trainer config --from toy.yaml": 0,
    "trainer --config nothing.yaml": 2,
    "trainer --config toy.yaml model.strat=0.3": 2,
    "trainer --config toy.yaml training.epochs=1 model.mode=nan": 1,
    "trainer --config toy.yaml training.epochs=1 model.mode=plain": 0,
    "trainer --config toy.yaml --subset-size 8 training.subset_size=9": 2,
    "trainer evaluate --checkpoint nothing.pth": 2,
    "trainer evaluate --checkpoint toy.yaml": 2,
    "trainer predict . --checkpoint nothing.pth": 2,
}
# Some of each kind, for every run of the tests.
QUICK_CALLS = {
    call: CALLS.pop(call)
    for call in (
        "orchestrator",
        "orchestrator plan nothing.yaml",
        "orchestrator plan small.yaml --pruner nobody",
        "orchestrator run small.yaml --nothing",
        "orchestrator status outputs/nothing",
        "trainer config nothing",
        "trainer --config toy.yaml model.strat=0.3",
    )
}


def help_of(module: str, command: str, folder: Path) -> dict[str, Any]:
    """Commands, arguments and flags with kind, default and whether they must be given; no prose."""
    done = python(folder, "-m", module, *filter(None, [command]), "--help")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = {}
    panel = ""
    for line in done.stdout.splitlines():
        title = re.match(r"^╭─ (\w+)", line)
        panel = title[1] if title else panel
        if panel == "Commands" and (match := COMMAND.match(line)):
            found.setdefault("commands", []).append(match[1])
        elif panel != "Commands" and (match := OPTION.match(line)):
            default = DEFAULT.search(line)
            found[" ".join(match[2].split())] = {
                "kind": match[3], "default": default[1] if default else None, "required": "[required]" in line,
            }  # fmt: skip
    return found


def all_help(folder: Path) -> dict[str, Any]:
    names = [(module, command) for module, commands in MODULES.items() for command in commands]
    return {" ".join(filter(None, name)): help_of(*name, folder) for name in names}


def status_of(call: str, folder: Path) -> Any:
    return python(folder, "-m", *call.split(), real=call in QUICK_CALLS)


def signatures() -> dict[str, Any]:
    """Every name of `trainer.api.__all__` with its parameters and public names; what is neither, with its kind."""
    from trainer import api

    return {name: signature(getattr(api, name)) for name in sorted(api.__all__)}


def signature(thing: Any) -> Any:
    if not callable(thing):
        return type(thing).__name__
    try:
        takes = [parameter_facts(parameter) for parameter in inspect.signature(thing).parameters.values()]
    except (TypeError, ValueError):  # an exception's own
        takes = []
    if not inspect.isclass(thing):
        return {"takes": takes}
    keys = getattr(thing, "model_fields", None)  # of a pydantic model: its keys, not what the library adds
    names = keys if keys is not None else (n for n in dir(thing) if n[0] != "_" and not hasattr(Exception, n))
    return {"takes": takes, "has": sorted(names)}


def parameter_facts(parameter: inspect.Parameter) -> str:
    """Name and kind; with a plain default its value, with another `= …`. No annotation: it may become more exact."""
    default = parameter.default
    plain = default is None or isinstance(default, bool | int | float | str | tuple)
    shown = "" if default is inspect.Parameter.empty else f" = {default!r}" if plain else " = …"
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    only = " (by name)" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
    return f"{stars}{parameter.name}{only}{shown}"


def plan_structure(path: Path) -> Any:
    """Keys and kinds of a `plan.yaml`."""
    return shape_of(yaml.safe_load(path.read_text(encoding="utf-8")))


def metrics_keys(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted({key for line in lines for key in [*line, *(f"metrics.{name}" for name in line["metrics"])]})


def losses(path: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line["metrics"].items() if "loss" in name} for line in lines]


def checkpoint_structure(path: Path) -> Any:
    """The whole tree of a checkpoint: its keys, for tensors kind and shape, for the rest the kind."""
    import torch

    def of(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        if isinstance(value, dict):
            return {str(key): of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            kinds = {json.dumps(of(item), sort_keys=True) for item in value}
            return [json.loads(kind) for kind in sorted(kinds)]
        return type(value).__name__

    return of(torch.load(path, map_location="cpu", weights_only=True))


def fresh_workplace(folder: Path) -> Path:
    return workplace(folder, "ladder", "small")


def write_plans(folder: Path) -> dict[str, Path]:
    """A `plan.yaml` of each kind of study: the quickstart's list, a ladder with a space, a list; nothing is trained."""
    workplace(folder)
    shutil.copy(code_root() / "trials" / "quickstart.json", folder)
    for name in ("quickstart.json", "ladder.yaml", "small.yaml"):
        done = python(folder, "-m", "orchestrator", "run", name, "--max-gpu-hours", "0", "--view", "quiet")
        assert done.returncode == 0, done.stderr
    return {name: folder / "outputs" / name / "plan.yaml" for name in ("quickstart", "ladder", "small")}
