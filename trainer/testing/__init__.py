"""What every task promises, as tests to inherit: `from trainer.testing import TaskContract`. Needs pytest."""

import pytest

pytest.register_assert_rewrite("trainer.testing.contract")  # before its import, or a failure shows no values

from trainer.testing.contract import TaskContract, batches_of, same  # noqa: E402

__all__ = ["TaskContract", "batches_of", "same"]
