"""What the fork server does before slots are copied from it."""

from orchestrator.slots.worker import settle
from trainer.api import warm_up

warm_up()
settle()
