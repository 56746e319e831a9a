"""The rooms of a package, measured: who imports what, circles, lines. Reads source text and imports nothing of it.

A room is a folder at the top of a package, or a file there. Every import counts as an arrow: those inside functions
and those for type checking, too.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path

Arrows = Mapping[str, Collection[str]]


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    return {
        ".".join((path.parent if path.name == "__init__.py" else path.with_suffix(""))
                 .relative_to(package.parent).parts): path
        for path in sorted(package.rglob("*.py"))
    }  # fmt: skip


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The dotted names that a file imports, from whatever place in it: `from a import b` gives `a` and `a.b`."""
    return imported_names(path.read_text(encoding="utf-8"))


def imported_names(source: str) -> frozenset[str]:
    """The same of a source text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def module_arrows(package: Path) -> dict[str, set[str]]:
    """Each module of a package → the modules of the same package that it imports.

    A module in a folder does not count as an import of the folder's `__init__`, unless a name is taken from it.
    """
    known = modules_of(package)
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {target for target in imports_of(path) if target in known and target != name}
        covered = {target.rpartition(".")[0] for target in targets}
        arrows[name] = {target for target in targets if not (target in covered and _is_room_alone(known[target]))}
    return arrows


def _is_room_alone(path: Path) -> bool:
    """Whether a module is an `__init__` that imports nothing, so that importing it leads nowhere."""
    return path.name == "__init__.py" and not imports_of(path)


def room_of(module: str) -> str:
    """The room of a dotted name: its second part; the package itself for `package`."""
    return module.split(".")[1] if "." in module else module


def room_arrows(arrows: Arrows) -> dict[str, set[str]]:
    """Each room → the other rooms that its modules import."""
    rooms: dict[str, set[str]] = {room_of(module): set() for module in arrows}
    for module, targets in arrows.items():
        rooms[room_of(module)] |= {room_of(target) for target in targets} - {room_of(module)}
    return rooms


def forbidden_arrows(arrows: Arrows, allowed: Arrows) -> list[str]:
    """The imports, as `module → module`, for which the table of rooms has no arrow."""
    return sorted(
        f"{module} → {target}"
        for module, targets in arrows.items()
        for target in targets
        if room_of(target) != room_of(module) and room_of(target) not in allowed.get(room_of(module), ())
    )


def circle(arrows: Arrows) -> list[str]:
    """The names along one circle of arrows, its first name repeated at the end; nothing where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in sorted(arrows.get(name, ())):
            if found := walk(target, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def lines_by_room(package: Path) -> dict[str, int]:
    """Lines of source in each room; those of the package's own `__init__` are counted under its name."""
    lines: dict[str, int] = {}
    for module, path in modules_of(package).items():
        room = room_of(module)
        lines[room] = lines.get(room, 0) + len(path.read_text(encoding="utf-8").splitlines())
    return lines


def too_large_rooms(lines: Mapping[str, int], largest_share: float, exempt: Collection[str] = ()) -> dict[str, float]:
    """Rooms with more than a share of all lines, each with its share."""
    total = sum(lines.values())
    return {room: n / total for room, n in lines.items() if n > largest_share * total and room not in exempt}


def entries_at_the_top(package: Path) -> list[str]:
    """Files and folders of a package, without what Python writes itself."""
    return sorted(path.name for path in package.iterdir() if path.name != "__pycache__")


def libraries_away_from_home(uses: Mapping[str, Collection[str]], homes: Arrows) -> list[str]:
    """The imports, as `module → library`, of a library outside its homes: modules, or folders with all below them.

    `uses` gives for each module the dotted names that it imports.
    """
    return sorted(
        f"{module} → {library}"
        for module, names in uses.items()
        for library, places in homes.items()
        if any(_within(name, library) for name in names) and not any(_within(module, place) for place in places)
    )


def library_uses(package: Path) -> dict[str, frozenset[str]]:
    """Each module of a package → the dotted names that it imports, and those that it loads as `"module:object"`."""
    return {module: imports_of(path) | loaded_by_name(path) for module, path in modules_of(package).items()}


def loaded_by_name(path: Path) -> frozenset[str]:
    """The modules in the strings `"module:object"` of a file, which some function imports when it is wanted."""
    texts = (
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    pairs = (text.partition(":") for text in texts if text.count(":") == 1)
    return frozenset(module for module, _, name in pairs if _is_dotted(module) and name.isidentifier())


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def siblings_that_import_each_other(arrows: Arrows, folder: str) -> list[str]:
    """Imports between the folders directly below a dotted folder, as `module → module`."""

    def child(module: str) -> str:
        return module.removeprefix(f"{folder}.").split(".")[0] if module.startswith(f"{folder}.") else ""

    return sorted(
        f"{module} → {target}"
        for module, targets in arrows.items()
        for target in targets
        if child(module) and child(target) and child(module) != child(target)
    )


def init_files_with_code(package: Path, exempt: Iterable[str] = ()) -> list[str]:
    """Modules of folders whose `__init__.py` holds more than a docstring of one line."""
    wrong = []
    for module, path in modules_of(package).items():
        if path.name == "__init__.py" and module not in exempt:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if len(tree.body) != 1 or len((ast.get_docstring(tree) or "\n").splitlines()) != 1:
                wrong.append(module)
    return wrong
