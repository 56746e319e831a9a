"""The orchestrator decides what to train: it plans a study, asks Optuna for trials, and prunes or promotes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.notebook import LoadedStudy, load_study

__all__ = ["LoadedStudy", "load_study"]


def __getattr__(name: str) -> Any:
    """The names of `notebook.py`, imported only when they are used, because every worker imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from orchestrator import notebook

    return getattr(notebook, name)
