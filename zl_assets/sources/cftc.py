"""Positions of traders from the CFTC's public reporting API (Socrata), futures and options combined.

Not through sodapy, which is archived. https://publicreporting.cftc.gov: dataset jun7-fc8e is the legacy report,
kh3c-gbw2 the disaggregated one. Numbers arrive as text, and a field without a value is left out of its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from zl_assets.sources.http import Answer, Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, records, rows

FIRST_DAY = date(2005, 1, 1)
"""First report asked for: five years before the first bar, for percentiles. The disaggregated one begins in 2006."""
PAGE = 5000

CONTRACTS = {
    "007601": "soybean_oil",
    "005602": "soybeans",
    "026603": "soybean_meal",
    "002602": "corn",
    "001602": "wheat_srw",
    "067651": "crude_oil",
}
"""Commodity by the CFTC's contract market code."""

_CODE = "cftc_contract_market_code"
_DAY = "report_date_as_yyyy_mm_dd"


@dataclass(frozen=True)
class _Report:
    """One report: its dataset, and the columns of our table by the vendor's field."""

    name: str
    dataset: str
    columns: Mapping[str, str]


REPORTS = (
    _Report(
        "legacy_combined",
        "jun7-fc8e",
        {
            "open_interest_all": "open_interest",
            "comm_positions_long_all": "commercial_long",
            "comm_positions_short_all": "commercial_short",
            "noncomm_positions_long_all": "noncommercial_long",
            "noncomm_positions_short_all": "noncommercial_short",
        },
    ),
    _Report(
        "disaggregated_combined",
        "kh3c-gbw2",
        {
            "open_interest_all": "open_interest",
            "m_money_positions_long_all": "managed_money_long",
            "m_money_positions_short_all": "managed_money_short",
        },
    ),
)


@dataclass(frozen=True)
class Cftc:
    """The CFTC as a source of raw series."""

    endpoint: Endpoint
    page: int = PAGE
    name: str = "cftc"
    tables: tuple[str, ...] = ("cftc_positioning",)

    def state(self) -> str:
        """Whether the user asked for it; it needs no key."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every report of the contracts: a few thousand rows, and the CFTC corrects old ones without saying so.

        Returns:
            cftc_positioning, in contracts. When a report was published is not in it.
        """
        del newest
        with self.endpoint.open(report) as connection:
            frames = [_report(connection, kind, self.page, report) for kind in REPORTS]
        table = pl.concat(frames, how="diagonal")
        positions = rows("cftc_positioning", table, source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"cftc_positioning": positions})


def _report(connection: Connection, kind: _Report, page: int, report: Callable[[str], None]) -> pl.DataFrame:
    fields = {
        _CODE: Field("text"),
        _DAY: Field("day"),
        **{name: Field("number", lacking="some") for name in kind.columns},
    }
    found: list[pl.DataFrame] = []
    while True:
        answer = _page(connection, kind, page, offset=sum(len(f) for f in found))
        part = records(answer.value, fields, answer.where)
        found.append(part.with_columns(pl.lit(answer.provenance).alias("provenance_uuid")))
        if len(part) < page:
            break
    table = pl.concat(found)
    strangers = set(table[_CODE]) - set(CONTRACTS)
    if strangers:
        raise drift(f"`{_CODE}` holds {sorted(strangers)[0]!r:.40}, which was not asked for", answer.where)
    report(f"{kind.name}: {len(table)} reports")
    return table.rename({_CODE: "contract_code", _DAY: "observed_date", **kind.columns}).with_columns(
        pl.lit(kind.name).alias("report"),
        pl.col("contract_code").replace_strict(CONTRACTS, return_dtype=pl.String).alias("commodity"),
    )


def _page(connection: Connection, kind: _Report, page: int, offset: int) -> Answer:
    codes = ", ".join(f"'{code}'" for code in CONTRACTS)
    return connection.json(
        f"/resource/{kind.dataset}.json",
        {
            "$select": ",".join((_CODE, _DAY, *kind.columns)),
            "$where": f"{_CODE} in({codes}) AND {_DAY} >= '{FIRST_DAY}T00:00:00.000'",
            # Pages need an order in which no two rows are equal.
            "$order": f"{_DAY},{_CODE},:id",
            "$limit": str(page),
            "$offset": str(offset),
        },
    )
