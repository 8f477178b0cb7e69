"""CPU time of importing the definitions, over that of importing Dagster alone.

python -m zl_assets_tests.benchmarks.import_cost
"""

from zl_assets_tests.benchmarks.measuring import Comparison, Spread, measure, options, report

OURS, DAGSTER = "import zl_assets.definitions", "import dagster"


def main() -> None:
    """Measure both imports in turn, so that a busy machine slows both alike."""
    asked = options("CPU time (user and system) of the imports, each in a new process", 15, 1.4).parse_args()
    for statement in (OURS, DAGSTER):
        measure(["-c", statement])
    ours, alone = [], []
    for _ in range(asked.repeats):
        ours.append(measure(["-c", OURS]).cpu)
        alone.append(measure(["-c", DAGSTER]).cpu)
    comparison = Comparison(Spread(OURS, tuple(ours)), Spread(DAGSTER, tuple(alone)), asked.limit)
    report(comparison, [], as_json=asked.json)


if __name__ == "__main__":
    main()
