"""The data of everything that a study may train on, looked at before anything runs, and once for equal data."""

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
    """The checks of one study. `full` is the data of the base, None where it has mistakes, which `mistake` says."""

    def __init__(self, base: RunConfig) -> None:
        self.full: DataSummary | None = None
        self.mistake = ""
        self._base = base.plain()
        self._keys = [key for key in known_keys(base.task) if reads_data(base.task, key)]
        try:
            self.full = check_data(base)
        except DataError as error:
            self.mistake = str(error)
        self._found = {self._values(base): self.mistake}

    def try_out(self, *layers: Mapping[str, Any]) -> None:
        """`ConfigError` where overrides over the base break a constraint, or the data, in a way the base does not."""
        config = resolve_config(self._base, *layers)
        values = self._values(config)
        if values not in self._found:
            try:
                self._found[values] = self._other_targets(check_data(config))
            except DataError as error:
                self._found[values] = str(error)
        if self._found[values] not in ("", self.mistake):
            raise ConfigError([Problem("data", self._found[values])])

    def _other_targets(self, summary: DataSummary) -> str:
        """Words for where something else is asked of a model here than in the base; empty where it is the same."""
        if self.full is None or summary.targets == self.full.targets:
            return ""
        return f"{summary.targets} here, and {self.full.targets} in the base: values of the two cannot be compared"

    def _values(self, config: RunConfig) -> str:
        plain = config.plain()
        return as_json([dotted(plain, key) for key in self._keys])
