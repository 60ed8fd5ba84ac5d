"""The tables of executions, their attempts, step runs, payloads and receipts, and of the engines that run them.

Rows of the growing tables refer to others without a database constraint, so that old partitions can be dropped.
"""

from __future__ import annotations

from executions.models.clock import Clock
from executions.models.engine import ALIVE, Engine, Trouble
from executions.models.execution import Attempt, Execution, ExecutionQuerySet
from executions.models.measure import Measure
from executions.models.pace import Firing, Pace
from executions.models.receipt import Delivery, Outcome, Receipt, ReceiptDay
from executions.models.retention import RetentionMark, RetentionRun
from executions.models.step_run import Payload, StepRun

__all__ = [
    "ALIVE",
    "Attempt",
    "Clock",
    "Delivery",
    "Engine",
    "Execution",
    "ExecutionQuerySet",
    "Firing",
    "Measure",
    "Outcome",
    "Pace",
    "Payload",
    "Receipt",
    "ReceiptDay",
    "RetentionMark",
    "RetentionRun",
    "StepRun",
    "Trouble",
]  # fmt: skip
