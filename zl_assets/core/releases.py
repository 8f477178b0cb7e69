"""How late each raw series is published, as data: one rule per report, the known delays, the closed days.

Belongs here: facts and where they come from; `release_rules` makes moments of them. Where a release has no fixed day,
the rule is the latest usual one, so a moment may be late and is not early.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from typing import Literal

CLOSE_OF_DAY = time(17, 15)
"""New York time at which the day's trading of futures, currencies and funds is over and its closes are published."""

WeekDay = Literal[1, 2, 3, 4, 5]


@dataclass(frozen=True)
class Release:
    """How long after the date it is about a value becomes public. The steps are taken in the order of the fields.

    Attributes:
        table: raw_intelligence table without the dataset.
        at: New York time of the release.
        where: column -> pattern that its value must match from its beginning to its end; all of them. A mark of a
            simulated source is not part of a source.
        months: on to the first day of the month that lies this many months ahead; None stays at the date.
        days: then as many days on.
        weekday: then to this day of the week (1 is Monday), where it is not one already.
        business_days: then as many business days of the federal government on; 0 is the day itself, or the next one
            that is a business day; None leaves it.
        by_year: publication day by the year of the date, in place of the steps; other years have none.
        ahead: whether values are published before the date they are about.
        why: what the rule rests on.
    """

    table: str
    at: time
    where: tuple[tuple[str, str], ...] = ()
    months: int | None = None
    days: int = 0
    weekday: WeekDay | None = None
    business_days: int | None = None
    by_year: tuple[tuple[int, date], ...] = ()
    ahead: bool = False
    why: str = ""


@dataclass(frozen=True)
class Delay:
    """A release that came later than its rule says; the later of the two moments counts.

    Attributes:
        table: raw_intelligence table without the dataset.
        first: earliest date, of those the values are about, that it concerns.
        last: latest one.
        released: New York day of the release; the time of day is the rule's.
        where: as in `Release`.
        why: the cause.
    """

    table: str
    first: date
    last: date
    released: date
    where: tuple[tuple[str, str], ...] = ()
    why: str = ""


RFS_PUBLISHED: tuple[tuple[int, date], ...] = (
    (2010, date(2010, 3, 26)),
    (2011, date(2010, 12, 9)),
    (2012, date(2012, 1, 9)),
    (2013, date(2013, 8, 15)),
    *((year, date(2015, 11, 30)) for year in (2014, 2015, 2016)),
    (2017, date(2016, 12, 12)),
    (2018, date(2017, 12, 12)),
    (2019, date(2018, 12, 11)),
    *((year, date(2022, 6, 3)) for year in (2020, 2021, 2022)),
    *((year, date(2023, 6, 21)) for year in (2023, 2024, 2025)),
)
"""Publication of the EPA's final volumes by compliance year: the announcement for the three joint rules, the Federal
Register for the others. The volumes of 2020 in use are the lowered ones of 2022."""

_SETTLED = "(?:ZL|ZS|ZM|ZC|ZW)=F"
_H10 = "DTWEXBGS|DTWEXAFEGS|DTWEXEMEGS|DEX[A-Z]{4}"

RELEASES: tuple[Release, ...] = (
    Release("volatility_daily", time(16, 15), why="Cboe's close, a quarter of an hour after the stocks'"),
    Release("treasury_daily", time(16, 15), (("source", "yahoo.*"),), why="Cboe quotes its yield indices to 15:00"),
    Release("treasury_daily", time(16, 15), business_days=1, why="H.15 shows a day on the next business day"),
    Release("fx_daily", time(18, 0), why="the currency day ends at 17:00 New York time"),
    Release("palm_oil_daily", time(18, 0), why="the exchange publishes settlements at the end of its day"),
    Release(
        "vendor_prices_daily",
        time(10, 0),
        (("source", "barchart.*"),),
        business_days=1,
        why="open interest is final on the next morning",
    ),
    Release(
        "vendor_prices_daily",
        time(15, 0),
        (("symbol", _SETTLED),),
        why="grain settlements follow the close of 13:20, until 2013 14:00, in Chicago",
    ),
    Release("vendor_prices_daily", CLOSE_OF_DAY, why="stocks close at 16:00, futures on Globex at 17:00"),
    Release("fred_economic", time(16, 15), (("series_id", "VIXCLS"),), why="Cboe's close is public before FRED has it"),
    Release(
        "fred_economic",
        time(14, 0),
        (("series_id", "DFEDTAR[UL]?"),),
        why="FRED dates a new target by the day after the 14:00 statement",
    ),
    Release(
        "fred_economic",
        time(16, 15),
        (("series_id", _H10),),
        days=1,
        weekday=1,
        business_days=0,
        why="H.10 shows a week on the Monday after, or on the business day after a Monday holiday",
    ),
    Release(
        "fred_economic",
        time(16, 15),
        (("series_id", "DCOIL.*|DHOIL.*"),),
        days=8,
        business_days=0,
        why="EIA's spot prices reach FRED two to eight days late",
    ),
    Release(
        "fred_economic",
        time(16, 15),
        (("series_id", "DGS.*|T10Y.*|T5Y.*|DFF|DFII.*|SOFR"),),
        business_days=1,
        why="H.15 and the New York Fed show a day on the next business day",
    ),
    Release(
        "fred_economic",
        time(16, 15),
        (("series_id", "FEDFUNDS"),),
        months=1,
        business_days=0,
        why="the month's mean with H.15 on the first business day after it",
    ),
    Release(
        "fred_economic",
        time(8, 30),
        (("series_id", "CPI.*"), ("observed_date", "(?:201[7-9]|20[2-9].)-.*")),
        months=1,
        days=14,
        business_days=0,
        why="the latest day of the month since 2017, delays apart",
    ),
    Release(
        "fred_economic",
        time(8, 30),
        (("series_id", "CPI.*"),),
        months=1,
        days=26,
        business_days=0,
        why="until 2016 a January figure came as late as 26 February",
    ),
    Release(
        "fred_economic",
        time(8, 30),
        (("series_id", "UNRATE|PAYEMS"),),
        months=1,
        days=9,
        business_days=0,
        why="on a Friday, the 10th at the latest: conservative where it was the first Friday",
    ),
    Release(
        "fred_economic",
        time(8, 30),
        (("series_id", "GDP_YOY_PCT_DERIVED"),),
        months=6,
        business_days=0,
        why="revised values: the third estimate comes three months after the quarter",
    ),
    Release(
        "fred_economic",
        time(8, 30),
        (("series_id", "GDP.*"),),
        months=3,
        days=29,
        business_days=0,
        why="the advance estimate, four weeks after the quarter",
    ),
    Release(
        "fred_economic",
        time(16, 15),
        (("series_id", "NFCI|ANFCI"),),
        days=5,
        business_days=1,
        why="on Wednesday for the week to Friday, a day later around holidays",
    ),
    Release("fred_economic", time(16, 15), (("frequency", "D"),), days=8, business_days=0, why="unknown: conservative"),
    Release(
        "fred_economic", time(16, 15), (("frequency", "W"),), days=14, business_days=0, why="unknown: conservative"
    ),
    Release(
        "fred_economic", time(16, 15), (("frequency", "Q"),), months=7, business_days=0, why="unknown: conservative"
    ),
    Release("fred_economic", time(16, 15), months=3, business_days=0, why="unknown: conservative"),
    Release(
        "cftc_positioning",
        time(15, 30),
        weekday=2,
        business_days=3,
        why="Tuesday's positions on Friday; each holiday in between makes it a business day later",
    ),
    Release(
        "weather_daily",
        time(12, 0),
        (("source", "(?i).*(?:era5|open.?meteo).*"),),
        days=6,
        why="the reanalysis is five days behind, counted from the end of the day",
    ),
    Release(
        "weather_daily",
        time(12, 0),
        (("station_id", "GHCND:AR.*"),),
        days=10,
        why="Argentine reports arrive a week late and more",
    ),
    Release("weather_daily", time(12, 0), days=3, why="station reports take one to three days"),
    Release("usda_crop_progress", time(16, 0), days=1, business_days=0, why="Monday for the week to Sunday"),
    Release(
        "usda_export_sales",
        time(8, 30),
        business_days=5,
        why="the Thursday after; each holiday in between makes it a business day later",
    ),
    Release(
        "biofuel",
        time(17, 0),
        (("item", "rfs_mandate_.*"),),
        by_year=RFS_PUBLISHED,
        ahead=True,
        why="dated by compliance year, published up to two years around it",
    ),
    Release(
        "biofuel",
        time(10, 0),
        (("item", "biodiesel_.*_settle"),),
        business_days=1,
        why="a settlement of an unnamed exchange: conservative",
    ),
    Release("biofuel", time(16, 15), months=3, business_days=0, why="EIA's months come two months after their end"),
    Release(
        "brazil_soy_crop",
        time(12, 0),
        months=3,
        business_days=0,
        why="dated 1 July; the last survey of a harvest comes in September",
    ),
    Release("policy_events", time(8, 45), why="the Federal Register of a day is out at 08:45"),
)
"""The first rule that fits a row counts; the last one of a table fits every row."""


def _positions(reported: date, released: date, why: str) -> Delay:
    return Delay("cftc_positioning", reported, reported, released, why=why)


_LAPSE_2013 = "lapse of appropriations, October 2013"
_LAPSE_2018 = "lapse of appropriations, December 2018 to January 2019"
_LAPSE_2025 = "lapse of appropriations, October and November 2025"
_SCHEDULE_2025 = (
    ((9, 30), date(2025, 11, 19)), ((10, 7), date(2025, 11, 21)), ((10, 14), date(2025, 11, 25)),
    ((10, 21), date(2025, 12, 2)), ((10, 28), date(2025, 12, 5)), ((11, 4), date(2025, 12, 9)),
    ((11, 10), date(2025, 12, 12)), ((11, 18), date(2025, 12, 16)), ((11, 25), date(2025, 12, 19)),
    ((12, 2), date(2025, 12, 23)), ((12, 9), date(2025, 12, 30)), ((12, 16), date(2026, 1, 6)),
    ((12, 23), date(2026, 1, 9)), ((12, 30), date(2026, 1, 13)),
)  # fmt: skip
_SCHEDULE_2019 = (
    (date(2018, 12, 24), date(2019, 2, 1)), (date(2018, 12, 31), date(2019, 2, 5)),
    (date(2019, 1, 8), date(2019, 2, 8)), (date(2019, 1, 15), date(2019, 2, 12)),
    (date(2019, 1, 22), date(2019, 2, 15)), (date(2019, 1, 29), date(2019, 2, 19)),
    (date(2019, 2, 5), date(2019, 2, 22)), (date(2019, 2, 12), date(2019, 2, 26)),
    (date(2019, 2, 19), date(2019, 3, 1)), (date(2019, 2, 26), date(2019, 3, 5)),
)  # fmt: skip
_UNRATE, _CPI = (("series_id", "UNRATE|PAYEMS"),), (("series_id", "CPI.*"),)
_ANY_GDP = (("series_id", "GDP.*"),)

DELAYS: tuple[Delay, ...] = (
    Delay("cftc_positioning", date(2013, 10, 1), date(2013, 10, 29), date(2013, 11, 15), why=f"{_LAPSE_2013}; at most"),
    *(_positions(reported, released, _LAPSE_2018) for reported, released in _SCHEDULE_2019),
    Delay("cftc_positioning", date(2023, 1, 31), date(2023, 1, 31), date(2023, 2, 24), why="attack on ION"),
    Delay("cftc_positioning", date(2023, 2, 1), date(2023, 3, 14), date(2023, 3, 24), why="attack on ION; at most"),
    *(_positions(date(2025, *day), released, _LAPSE_2025) for day, released in _SCHEDULE_2025),
    _positions(date(2026, 1, 6), date(2026, 1, 16), _LAPSE_2025),
    _positions(date(2026, 1, 13), date(2026, 1, 20), _LAPSE_2025),
    Delay("fred_economic", date(2013, 9, 1), date(2013, 9, 1), date(2013, 10, 22), _UNRATE, _LAPSE_2013),
    Delay("fred_economic", date(2013, 9, 1), date(2013, 9, 1), date(2013, 10, 30), _CPI, _LAPSE_2013),
    Delay("fred_economic", date(2018, 10, 1), date(2018, 10, 1), date(2019, 2, 28), _ANY_GDP, _LAPSE_2018),
    Delay("fred_economic", date(2025, 9, 1), date(2025, 9, 1), date(2025, 10, 24), _CPI, _LAPSE_2025),
    Delay("fred_economic", date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 18), _CPI, _LAPSE_2025),
    Delay("fred_economic", date(2025, 9, 1), date(2025, 9, 1), date(2025, 11, 20), _UNRATE, _LAPSE_2025),
    Delay("fred_economic", date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 16), _UNRATE, _LAPSE_2025),
    Delay("fred_economic", date(2025, 7, 1), date(2025, 7, 1), date(2025, 12, 23), _ANY_GDP, _LAPSE_2025),
    Delay("usda_crop_progress", date(2013, 9, 30), date(2013, 10, 13), date(2013, 10, 21), why=_LAPSE_2013),
    Delay(
        "usda_crop_progress", date(2025, 10, 1), date(2025, 11, 9), date(2025, 11, 24), why=f"{_LAPSE_2025}; at most"
    ),
    Delay("usda_export_sales", date(2013, 9, 26), date(2013, 9, 26), date(2013, 10, 21), why=f"{_LAPSE_2013}; at most"),
    Delay("usda_export_sales", date(2013, 10, 3), date(2013, 10, 3), date(2013, 10, 24), why=_LAPSE_2013),
    Delay("usda_export_sales", date(2013, 10, 4), date(2013, 10, 24), date(2013, 10, 31), why=_LAPSE_2013),
    Delay("usda_export_sales", date(2018, 12, 20), date(2019, 2, 14), date(2019, 2, 28), why=f"{_LAPSE_2018}; at most"),
    Delay("usda_export_sales", date(2025, 9, 25), date(2025, 12, 25), date(2026, 1, 15), why=f"{_LAPSE_2025}; at most"),
)
"""Known late releases. "At most" marks those whose exact day is not known: they count from a late enough one."""

EXTRA_CLOSURES: tuple[date, ...] = (
    *(date(year, 12, 24) for year in (2007, 2012, 2018, 2019, 2020, 2024, 2025)),
    *(date(year, 12, 26) for year in (2008, 2014, 2025)),
    date(2001, 9, 11),
    date(2001, 9, 12),
    date(2004, 6, 11),
    date(2007, 1, 2),
    date(2018, 12, 5),
    date(2025, 1, 9),
)
"""Days on which the federal government was closed by order: days of mourning, Christmas Eve, September 2001."""
