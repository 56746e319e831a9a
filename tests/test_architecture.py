"""The rules that hold the design together, measured: imports, lengths, the README's tree, the two commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("trainer", "orchestrator", "reports")
LONGEST_FILE, LONGEST_FUNCTION = 300, 60
# Who may import what of ours; everything else is forbidden.
ALLOWED = {
    "trainer": {"trainer"},
    "reports": {"reports"},
    "orchestrator": {
        "orchestrator",
        "trainer.api",
        "reports.build",
        "reports.record",
        "reports.tables",
        "reports.thumbnails",
    },
}
TORCH_FREE = (
    "trainer.api",
    "orchestrator.commands.cli",
    "orchestrator.planning.request",
    "reports.build",
    "trainer.cli.commands",
)


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module in PACKAGES:  # `from trainer import api` hides which door was taken
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                found.add(node.module or "")
    return found


def forbidden(package: str, names: set[str]) -> set[str]:
    """Imports of ours that the package may not make."""
    ours = {name for name in names if name.split(".")[0] in PACKAGES}
    allowed = ALLOWED[package]
    return {name for name in ours if not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert not forbidden(package, imports(ast.parse(path.read_text(encoding="utf-8"))))


def test_the_import_rule_notices_a_wrong_arrow() -> None:
    tree = ast.parse(
        "from trainer.run.loop import train_until\nfrom trainer.api import train\nimport reports.sections.summary"
    )
    assert forbidden("orchestrator", imports(tree)) == {"trainer.run.loop", "reports.sections.summary"}
    assert forbidden("trainer", imports(ast.parse("from orchestrator import plan"))) == {"orchestrator.plan"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("module", TORCH_FREE)
def test_torch_is_imported_only_where_training_happens(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_loop_names_no_task() -> None:
    names = {
        path.name for path in (ROOT / "trainer" / "tasks").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    for path in (
        ROOT / "trainer" / "run" / "loop.py",
        ROOT / "trainer" / "run" / "run.py",
        *sorted((ROOT / "orchestrator").rglob("*.py")),
    ):
        text = path.read_text(encoding="utf-8")
        assert not {name for name in names if name in text}, path


def test_the_readme_tree_is_true() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```tree\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    listed: set[str] = set()
    folder: list[str] = []
    for line in block[1].splitlines():
        match = re.match(r"( *)([\w./{}*-]+)", line)
        assert match is not None, line
        depth = len(match[1]) // 2
        folder = [*folder[:depth], match[2].rstrip("/")]
        listed.add("/".join(folder))
    missing = {name for name in listed if not (ROOT / name).exists()}
    assert not missing, "named in the README, but not there"
    modules = {
        str(path.relative_to(ROOT))
        for path in sources()
        if path.name not in ("__init__.py", "__main__.py") and len(path.relative_to(ROOT).parts) == 2
    }
    folders = {str(path.parent.relative_to(ROOT)) for path in sources()}
    assert not (modules | folders) - listed, "there, but not named in the README"


def test_the_readme_has_the_two_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m pip install .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert "orchestrator run trials/quickstart.json" in commands[0]
    assert "pytest" in commands[1]


def test_optional_and_direct_dependencies_name_the_file_that_needs_them() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in re.findall(r"# ([a-z_/]+/[a-z_]+\.py)", text):
        assert (ROOT / path).is_file(), path
