"""What the benchmarks share: measured child processes, medians with their spread, and the verdict."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from zl_assets_tests.conftest import PROJECT

_LEFT_OUT = ("ZL_", "DAGSTER_", "DATABENTO_", "PYTHONDONTWRITEBYTECODE")
"""Variables that would change what is measured. Without its bytecode cache, Python compiles every library anew at
each start; it keeps one unless told otherwise, so the benchmarks do too, and warm it up before they measure."""


@dataclass(frozen=True)
class Measured:
    """One finished child process: seconds of CPU (user and system), seconds of wall clock, and what it printed."""

    cpu: float
    wall: float
    output: str


def measure(arguments: Sequence[str]) -> Measured:
    """Run this Python with arguments and wait for it.

    Raises:
        subprocess.CalledProcessError: it failed; its messages are on standard error.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], check=True, cwd=PROJECT, env=environment, stdout=subprocess.PIPE
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(cpu, wall, done.stdout.decode())


@dataclass(frozen=True)
class Spread:
    """Repeats of one quantity, in seconds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the repeats."""
        return statistics.median(self.seconds)

    def line(self) -> str:
        """Median, and smallest to largest."""
        return f"{self.name:<44} {self.median:8.3f} s   ({min(self.seconds):.3f} to {max(self.seconds):.3f})"


@dataclass(frozen=True)
class Comparison:
    """What costs, over what it is held against, repeat by repeat.

    Attributes:
        cost: the measured one.
        base: the same repeats of what it is compared with.
        limit: the highest ratio of the medians that passes.
    """

    cost: Spread
    base: Spread
    limit: float

    @property
    def ratio(self) -> float:
        """Ratio of the medians."""
        return self.cost.median / self.base.median

    @property
    def passed(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.ratio <= self.limit


def report(comparison: Comparison, others: Sequence[Spread], *, as_json: bool) -> NoReturn:
    """Print the table or JSON, and exit with 0 within the limit and 1 above it."""
    cost, base = comparison.cost, comparison.base
    pairs = sorted(c / b for c, b in zip(cost.seconds, base.seconds, strict=True))
    if as_json:
        shown = {
            "seconds": {s.name: list(s.seconds) for s in (cost, base, *others)},
            "ratio": comparison.ratio,
            "ratio_of_pairs": [pairs[0], pairs[-1]],
            "limit": comparison.limit,
            "passed": comparison.passed,
        }
        print(json.dumps(shown))
    else:
        print(f"{len(cost.seconds)} alternating repeats: median (smallest to largest)")
        for spread in (cost, base, *others):
            print(spread.line())
        verdict = "within" if comparison.passed else "ABOVE"
        print(f"ratio {comparison.ratio:.2f} (pairs {pairs[0]:.2f} to {pairs[-1]:.2f}), {verdict} {comparison.limit}")
    sys.exit(0 if comparison.passed else 1)


def options(description: str, repeats: int, limit: float) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"how often each side runs; default {repeats}")
    parser.add_argument("--limit", type=float, default=limit, help=f"highest ratio that passes; default {limit}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser
