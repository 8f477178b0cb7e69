"""The futures the project follows: their market, their unit, and how the vendor writes them."""

from dataclasses import dataclass
from typing import Literal

Market = Literal["grains", "livestock", "energy", "metals", "fx", "rates", "equity", "palm_oil"]


@dataclass(frozen=True)
class Instrument:
    """A futures product followed through one continuous vendor symbol.

    Attributes:
        symbol: the exchange's root, the `symbol` column of every table.
        market: the trading calendar it follows.
        price_unit: unit of the vendor's prices.
        name: what the contract is.
    """

    symbol: str
    market: Market
    price_unit: str
    name: str


_FOLLOWED: tuple[Instrument, ...] = (
    Instrument("ZL", "grains", "US cents per lb", "Soybean oil"),
    Instrument("ZS", "grains", "US cents per bushel", "Soybeans"),
    Instrument("ZM", "grains", "USD per short ton", "Soybean meal"),
    Instrument("ZC", "grains", "US cents per bushel", "Corn"),
    Instrument("ZW", "grains", "US cents per bushel", "Chicago SRW wheat"),
    Instrument("CL", "energy", "USD per barrel", "WTI crude oil"),
    Instrument("HO", "energy", "USD per gallon", "NY Harbor ULSD"),
    Instrument("RB", "energy", "USD per gallon", "RBOB gasoline"),
    Instrument("NG", "energy", "USD per MMBtu", "Henry Hub natural gas"),
    Instrument("BZ", "energy", "USD per barrel", "Brent last day financial"),
    Instrument("GC", "metals", "USD per troy ounce", "Gold"),
    Instrument("SI", "metals", "USD per troy ounce", "Silver"),
    Instrument("HG", "metals", "USD per lb", "Copper"),
    Instrument("ES", "equity", "index points", "E-mini S&P 500"),
    Instrument("MES", "equity", "index points", "Micro E-mini S&P 500"),
    Instrument("NQ", "equity", "index points", "E-mini Nasdaq-100"),
    Instrument("6A", "fx", "USD per AUD", "Australian dollar"),
    Instrument("6C", "fx", "USD per CAD", "Canadian dollar"),
    Instrument("6E", "fx", "USD per EUR", "Euro"),
    Instrument("6J", "fx", "USD per JPY", "Japanese yen"),
    Instrument("6L", "fx", "USD per BRL", "Brazilian real"),
    Instrument("ZN", "rates", "points", "10-year T-note"),
    Instrument("ZB", "rates", "points", "30-year T-bond"),
    Instrument("ZF", "rates", "points", "5-year T-note"),
    Instrument("ZT", "rates", "points", "2-year T-note"),
    Instrument("LE", "livestock", "US cents per lb", "Live cattle"),
    Instrument("HE", "livestock", "US cents per lb", "Lean hogs"),
    Instrument("CPO", "palm_oil", "USD per tonne", "USD Malaysian crude palm oil"),
)

INSTRUMENTS: dict[str, Instrument] = {i.symbol: i for i in _FOLLOWED}
"""Followed instruments by symbol."""

NOT_FOLLOWED: frozenset[str] = frozenset(
    [
        "10Y",
        "2YY",
        "30Y",
        "5YY",
        "6B",
        "6M",
        "6N",
        "6R",
        "6S",
        "6Z",
        "ALI",
        "BTC",
        "CJ",
        "CU",
        "DC",
        "DY",
        "EMD",
        "ETH",
        "GF",
        "KE",
        "KT",
        "LBR",
        "M2K",
        "M6A",
        "M6B",
        "M6E",
        "MBT",
        "MCL",
        "MET",
        "MGC",
        "MNQ",
        "MYM",
        "NIY",
        "PA",
        "PL",
        "QG",
        "QH",
        "QI",
        "QM",
        "QO",
        "QU",
        "RTY",
        "SIL",
        "SR1",
        "SR3",
        "TN",
        "TT",
        "UB",
        "XC",
        "XK",
        "XW",
        "YM",
        "YO",
        "ZO",
        "ZQ",
        "ZR",
    ]
)
"""Products of the same venue that batch files may carry and no feature reads: skipped and counted, not rejected."""

FORECAST_SYMBOL = "ZL"
"""The instrument that is forecast: without its bars nothing runs."""

SECOND_SYMBOL = "MES"
"""An instrument with matrix rows and training views of its own; never a feature of ZL, which is nine years older."""

MATRIX_SYMBOLS: tuple[str, ...] = (FORECAST_SYMBOL, SECOND_SYMBOL)
"""Instruments that get rows in the feature matrix and training views; one that has no session gets none."""

ROLL_RULE = "v"
"""Continuous contract in use: v = front by volume, the only rule the bar history was collected with."""
