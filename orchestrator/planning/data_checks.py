"""Checks of all data that a study may train on, before anything runs; the same data are checked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.study.plan import dotted
from orchestrator.study.space import as_json
from trainer.api import (
    ConfigError,
    DataError,
    DataSummary,
    Problem,
    RunConfig,
    check_data,
    known_keys,
    reads_data,
    resolve_config,
)


class DataChecks:
    """The checks of one study. `full` describes the data of the base; it is None where `mistake` says what is wrong.

    `warnings` are those about the data of trials that the base does not have.
    """

    def __init__(self, base: RunConfig) -> None:
        self.full: DataSummary | None = None
        self.mistake = ""
        self.warnings: list[str] = []
        self._base = base.plain()
        self._keys = [key for key in known_keys(base.task) if reads_data(base.task, key)]
        try:
            self.full = check_data(base)
        except DataError as error:
            self.mistake = str(error)
        self._results = {self._values(base): self.mistake}  # by the values of the keys that the data depend on

    def try_out(self, *layers: Mapping[str, Any]) -> None:
        """`ConfigError` where overrides break a constraint, or have a problem with the data that the base has not."""
        config = resolve_config(self._base, *layers)
        values = self._values(config)
        if values not in self._results:
            try:
                summary = check_data(config)
                known = (*self.warnings, *(self.full.warnings if self.full is not None else ()))
                self.warnings += [warning for warning in summary.warnings if warning not in known]
                self._results[values] = self._other_targets(summary)
            except DataError as error:
                self._results[values] = str(error)
        if self._results[values] not in ("", self.mistake):
            raise ConfigError([Problem("data", self._results[values])])

    def _other_targets(self, summary: DataSummary) -> str:
        """How the targets of a model differ from those of the base; empty where they are the same."""
        if self.full is None or summary.targets == self.full.targets:
            return ""
        return f"{summary.targets} here, and {self.full.targets} in the base: values of the two cannot be compared"

    def _values(self, config: RunConfig) -> str:
        plain = config.plain()
        return as_json([dotted(plain, key) for key in self._keys])
