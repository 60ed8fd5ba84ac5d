"""What happened: execution, attempt, step run, payload, receipt, and the engines that run them.

Rows of these growing tables refer to others without a database constraint, so that old partitions can be dropped.
"""

from __future__ import annotations

from executions.models.engine import Engine
from executions.models.execution import Attempt, Execution, ExecutionQuerySet
from executions.models.receipt import Receipt
from executions.models.step_run import Payload, StepRun

__all__ = ["Attempt", "Engine", "Execution", "ExecutionQuerySet", "Payload", "Receipt", "StepRun"]
