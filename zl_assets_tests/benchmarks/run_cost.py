"""Time of `zl run` in a fresh home, over that of the same calculations as plain function calls.

python -m zl_assets_tests.benchmarks.run_cost DATA_DIR
"""

import json
import tempfile
from pathlib import Path

from zl_assets_tests.benchmarks.measuring import Comparison, Measured, Spread, measure, options, report


def main() -> None:
    """Measure both in turn, after a first time that does not count. The verdict is on wall clock, start included."""
    parser = options("Wall clock of zl run over the same calculations without Dagster and DuckDB", 3, 2.0)
    parser.add_argument("directory", type=Path, metavar="DATA_DIR", help="directory of vendor files")
    parser.add_argument("--models", default="standard", help="as of `zl run`; default standard")
    asked = parser.parse_args()
    data = str(asked.directory.resolve())
    run(data, asked.models), calculations(data, asked.models)
    whole: list[Measured] = []
    plain: list[Measured] = []
    for _ in range(asked.repeats):
        whole.append(run(data, asked.models))
        plain.append(calculations(data, asked.models))
    comparison = Comparison(
        Spread("zl run, wall", tuple(m.wall for m in whole)),
        Spread("plain calls, wall", tuple(m.wall for m in plain)),
        asked.limit,
    )
    others = [
        Spread("zl run, CPU", tuple(m.cpu for m in whole)),
        Spread("plain calls, CPU", tuple(m.cpu for m in plain)),
        Spread("zl run, inside the process", tuple(float(json.loads(m.output)["seconds"]) for m in whole)),
        Spread("plain calls, inside the process", tuple(float(m.output) for m in plain)),
    ]
    report(comparison, others, as_json=asked.json)


def run(data: str, models: str) -> Measured:
    """`zl run` in a home of its own."""
    with tempfile.TemporaryDirectory() as directory:
        home = str(Path(directory) / "home")
        return measure(["-m", "zl_assets.cli", "run", "--json", "--home", home, "--data", data, "--models", models])


def calculations(data: str, models: str) -> Measured:
    """The plain function calls."""
    return measure(["-m", "zl_assets_tests.benchmarks.plain_run", data, models])


if __name__ == "__main__":
    main()
