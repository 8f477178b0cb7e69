"""What Dagster is told of BigQuery's jobs: labels one way, bytes processed the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import dagster as dg

BYTES_METADATA = "bigquery/bytes_processed"
BYTES_TAG = "zl/bigquery_bytes_processed"
"""On each asset the bytes of its step, and on the run the bytes of all its steps."""


@dataclass
class StepUsage:
    """Bytes that queries processed, by run and step of this process."""

    _of_steps: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _of_runs: Counter[str] = field(default_factory=Counter[str])

    def labels(self) -> dict[str, str]:
        """Asset or check and run that this process is at, as labels of a job; empty outside a run."""
        context = _context()
        return {"asset": context.op.name, "run_id": context.run_id} if context else {}

    def count(self, bytes_processed: int) -> None:
        """Add one query to the metadata of the step's assets and to the run's tag; nothing outside a run."""
        context = _context()
        if context is None:
            return
        step = (context.run_id, context.op.name)
        self._of_steps[step] += bytes_processed
        self._of_runs[context.run_id] += bytes_processed
        for output in context.selected_output_names:
            self._attach(context, output, self._of_steps[step])
        context.instance.add_run_tags(context.run_id, {BYTES_TAG: str(self._of_runs[context.run_id])})

    def _attach(self, context: dg.OpExecutionContext, output: str, total: int) -> None:
        try:
            context.add_output_metadata({BYTES_METADATA: total}, output_name=output)
        except dg.DagsterInvariantViolationError:
            # The output has been handed over; what its step asks afterwards shows in the run's sum.
            return


def _context() -> dg.OpExecutionContext | None:
    try:
        return dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return None
