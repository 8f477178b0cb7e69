"""Raw series from parquet files: documented defects mended, sources apart, and one clear message for a bad file."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from zl_assets.core.raw_series import SHAPES, sort_out
from zl_assets.errors import InputError
from zl_assets.settings import Settings
from zl_assets.sources.series_choice import SeriesSources
from zl_assets.sources.series_files import FILES, SeriesFiles
from zl_assets.sources.series_source import SeriesSource
from zl_assets.warehouse.contracts import contract

NOW = datetime(2026, 9, 1, tzinfo=UTC)
NOT_IN_THE_PACK = {"usda_export_sales"}


def quiet(_: str) -> None:
    return


def fetched(directory: Path) -> dict[str, pl.DataFrame]:
    """Rows by table."""
    return dict(SeriesFiles(directory).fetch({}, quiet).rows)


@pytest.fixture(scope="module")
def simulated(simulated_market: Path) -> dict[str, pl.DataFrame]:
    return fetched(simulated_market)


@pytest.fixture
def one_file(tmp_path: Path, simulated_market: Path) -> Path:
    """A directory with the currencies of the simulated market and nothing else."""
    (tmp_path / "series").mkdir()
    shutil.copy(simulated_market / "series" / "fx.parquet", tmp_path / "series")
    return tmp_path


def edited(directory: Path, frame: pl.DataFrame, name: str = "fx") -> dict[str, pl.DataFrame]:
    """What is read where a file holds these rows."""
    (directory / "series").mkdir(exist_ok=True)
    frame.write_parquet(directory / "series" / f"{name}.parquet")
    return fetched(directory)


def rate(rows: pl.DataFrame, day: str, pair: str, source: str) -> list[float]:
    found = rows.filter((pl.col("observed_date") == date.fromisoformat(day)) & (pl.col("pair") == pair))
    return found.filter(pl.col("source") == source)["rate"].to_list()


def fx(rows: list[tuple[str, str, str, float]]) -> pl.DataFrame:
    days = [(date.fromisoformat(d), *rest) for d, *rest in rows]
    return pl.DataFrame(days, schema=["date", "pair", "source", "rate"], orient="row")


def test_every_table_has_a_file_and_its_rows_fit_the_contract(simulated: dict[str, pl.DataFrame]) -> None:
    assert set(simulated) == set(SHAPES)
    for table, rows in simulated.items():
        promised = contract(f"raw_intelligence.{table}")
        assert rows.columns == [c.name for c in promised.columns if c.name != "ingest_timestamp"]
        done = sort_out(table, rows, NOW)
        promised.validated(done.rows.with_columns(ingest_timestamp=pl.lit(NOW)))
        assert done.rows.height > 0.99 * rows.height, table


def test_simulated_rows_carry_the_mark_of_their_world(simulated: dict[str, pl.DataFrame]) -> None:
    assert all(rows["source"].str.starts_with("simulated:").all() for rows in simulated.values())
    assert all(not rows["source"].str.contains("simulated:simulated:").any() for rows in simulated.values())


def test_a_copy_without_the_marker_is_still_recognised_by_its_rows(one_file: Path) -> None:
    assert fetched(one_file)["fx_daily"]["source"].str.starts_with("simulated:").all()


def test_the_market_moves_on_its_own_day(simulated: dict[str, pl.DataFrame], simulated_market: Path) -> None:
    """Yahoo's cross follows the future of its day once the label is put right."""
    [path] = (simulated_market / "databento").glob("*.6E.v.0.csv")
    bars = pl.read_csv(path, try_parse_dates=True).select(
        observed_date=pl.col("ts_event").dt.date(), future=pl.col("close")
    )
    euro = simulated["fx_daily"].filter(pl.col("pair") == "EURUSD").select("observed_date", "rate")
    both = bars.join(euro, on="observed_date").sort("observed_date")
    moves = both.select(pl.col("future", "rate").log().diff())
    same_day = moves.select(pl.corr("future", "rate")).item()
    assert same_day > 0.9
    assert abs(moves.select(pl.corr("future", pl.col("rate").shift(-1))).item()) < 0.2


def test_late_labels_are_moved_to_the_weekday_before(tmp_path: Path) -> None:
    rows = edited(
        tmp_path,
        fx(
            [
                ("2024-03-11", "USDBRL", "yahoo", 5.0),  # a Monday
                ("2024-03-12", "USDBRL", "yahoo", 5.1),
                ("2024-03-12", "DXY", "yahoo", 103.0),
                ("2008-03-12", "USDBRL", "bulk_csv", 1.7),
                ("2008-03-12", "USDMYR", "bulk_csv", 3.2),
                ("2010-03-12", "USDCNY", "bulk_csv", 6.8),
            ]
        ),
    )["fx_daily"]
    assert rate(rows, "2024-03-08", "USDBRL", "yahoo") == [5.0]
    assert rate(rows, "2024-03-11", "USDBRL", "yahoo") == [5.1]
    assert rate(rows, "2024-03-12", "DXY", "yahoo") == [103.0]
    assert rate(rows, "2008-03-11", "USDBRL", "bulk_csv") == [1.7]
    assert rate(rows, "2008-03-12", "USDMYR", "bulk_csv") == [3.2]
    assert rate(rows, "2010-03-12", "USDCNY", "bulk_csv") == [6.8]


def test_the_composite_is_a_day_earlier_and_says_so(simulated: dict[str, pl.DataFrame], simulated_market: Path) -> None:
    labelled = pl.read_parquet(simulated_market / "series" / "weather.parquet")
    name = pl.col("station_id") == "COOP_COMPOSITE"
    moved = simulated["weather_daily"].filter(name).sort("observed_date")
    late = labelled.filter(name).sort("date")
    assert moved["observed_date"].to_list() == [d - timedelta(days=1) for d in late["date"]]
    assert moved["adjustments"].unique().to_list() == ["moved to the day before"]
    others = simulated["weather_daily"].filter(~name)
    assert others["adjustments"].null_count() == others.height


def test_sources_of_one_index_stay_apart(simulated: dict[str, pl.DataFrame]) -> None:
    vix = simulated["volatility_daily"]
    assert set(vix["source"]) == {"simulated:yahoo", "simulated:fred"}
    assert vix.filter(pl.col("source") == "simulated:fred")["open"].null_count() == vix.height // 2


def test_what_the_labels_hide_is_called_unknown(simulated: dict[str, pl.DataFrame]) -> None:
    assert simulated["usda_crop_progress"]["statistic"].unique().to_list() == ["unknown"]
    positions = simulated["cftc_positioning"]
    assert positions["contract_code"].unique().to_list() == ["007601"]
    assert positions["managed_money_long"].null_count() == positions.height


def test_a_post_is_public_at_its_second_and_a_document_on_its_day(tmp_path: Path, simulated_market: Path) -> None:
    events = pl.read_parquet(simulated_market / "series" / "policy.parquet").head(2)
    moments = [datetime(2022, 5, 2, tzinfo=UTC), datetime(2022, 5, 3, 2, 11, 5, tzinfo=UTC)]
    events = events.with_columns(
        ts=pl.Series(moments, dtype=pl.Datetime("us", "UTC")), ts_basis=pl.Series(["publication date", "post time"])
    )
    rows = sort_out("policy_events", edited(tmp_path, events, "policy")["policy_events"], NOW).rows
    assert rows["observed_date"].to_list() == [date(2022, 5, 2)] * 2
    assert rows["available_at"].to_list() == [datetime(2022, 5, 2, 12, 45, tzinfo=UTC), moments[1]]


def test_the_same_content_has_the_same_provenance(one_file: Path, simulated: dict[str, pl.DataFrame]) -> None:
    again = fetched(one_file)["fx_daily"]["provenance_uuid"].unique().to_list()
    assert again == simulated["fx_daily"]["provenance_uuid"].unique().to_list()


def test_a_missing_file_is_a_table_left_out(one_file: Path) -> None:
    assert set(fetched(one_file)) == {"fx_daily"}
    assert SeriesFiles(one_file).state() == "configured"


def test_where_there_are_no_files_it_is_not_configured(tmp_path: Path) -> None:
    assert SeriesFiles(None).state() == "not configured: --data or ZL_DATA"
    assert SeriesFiles(tmp_path).state().startswith("not configured: no parquet file")


@pytest.mark.parametrize("kept_bytes", [0, 100, 5_000])
def test_a_damaged_file_is_named(one_file: Path, kept_bytes: int) -> None:
    path = one_file / "series" / "fx.parquet"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match=r"cut off or damaged.*fx\.parquet"):
        fetched(one_file)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_missing_or_other_column_is_named(file: object, tmp_path: Path, simulated_market: Path) -> None:
    stem, columns = file.stem, file.columns  # pyright: ignore[reportAttributeAccessIssue]
    source = simulated_market / "series" / f"{stem}.parquet"
    kinds = {"day": date(2024, 1, 2), "number": 1.0, "text": "x"}
    # Single contract months are a vendor's own: the simulator writes none.
    made = pl.DataFrame({n: [kinds[k]] for n, k in columns.items() if k in kinds})
    table, last = pl.read_parquet(source) if source.is_file() else made, list(columns)[-1]
    assert edited(tmp_path, table, stem)[file.table].height  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=rf"the column {last} is missing.*{stem}\.parquet"):
        edited(tmp_path, table.drop(last), stem)
    with pytest.raises(InputError, match=rf"the column {last} is of type List"):
        edited(tmp_path, table.with_columns(pl.concat_list(pl.col(last)).alias(last)), stem)


def test_a_simulated_market_asks_no_vendor_and_a_real_one_no_simulation(tmp_path: Path) -> None:
    client: SeriesSource = SeriesFiles(tmp_path / "client")
    sources = SeriesSources(Settings(home=tmp_path), (client,))
    assert sources.of_the_market(real=False) == (SeriesFiles(tmp_path / "vendor" / "simulated"),)
    assert sources.of_the_market(real=True) == (SeriesFiles(None), client)
    given = SeriesSources(Settings(home=tmp_path, data=tmp_path / "data"), ())
    assert given.of_the_market(real=True) == given.of_the_market(real=False) == (SeriesFiles(tmp_path / "data"),)


@pytest.fixture(scope="module")
def real(real_data: Path) -> dict[str, pl.DataFrame]:
    if not (real_data / "series").is_dir():
        pytest.skip(f"licensed series not found in {real_data}: set ZL_TEST_DATA to run this test")
    return fetched(real_data)


@pytest.mark.realdata
def test_the_real_files_are_read_whole(real: dict[str, pl.DataFrame], real_data: Path) -> None:
    assert set(real) == set(SHAPES) - NOT_IN_THE_PACK
    for table, rows in real.items():
        done = sort_out(table, rows, NOW)
        contract(f"raw_intelligence.{table}").validated(done.rows.with_columns(ingest_timestamp=pl.lit(NOW)))
        assert not rows["source"].str.starts_with("simulated").any()
        assert set(done.rejected["reason"]) <= {"spike_undone_by_the_next_value"}, json.dumps(done.left_alone)
    delivered = pl.scan_parquet(real_data / "series" / "fx.parquet").select(pl.len()).collect().item()
    assert real["fx_daily"].height == delivered


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("table", "name", "column", "slip", "reason"),
    [
        ("fred_economic", "CPIAUCSL", "value", pl.col("value") * 10, "out_of_bounds"),
        ("fred_economic", "CPIAUCSL", "value", pl.col("value") * 1.1, "leap_from_the_value_before"),
        ("volatility_daily", "VIX", "close", pl.col("close") * 30, "out_of_bounds"),
        ("cftc_positioning", "007601", "commercial_long", pl.col("open_interest") * 10, "position_above_open_interest"),
        ("treasury_daily", "10Y", "close", pl.col("close") * 10, "out_of_bounds"),
    ],
)
def test_a_slip_among_the_real_rows_is_the_only_one_rejected(
    real: dict[str, pl.DataFrame], table: str, name: str, column: str, slip: pl.Expr, reason: str
) -> None:
    rows = real[table]
    assert sort_out(table, rows, NOW).rejected.is_empty()
    named = pl.col(SHAPES[table].identity[0]) == name
    day, source = rows.filter(named).sort("source", "observed_date").select("observed_date", "source").row(-9)
    here = named & (pl.col("observed_date") == day) & (pl.col("source") == source)
    slipped = rows.with_columns(pl.when(here).then(slip).otherwise(column).alias(column))
    done = sort_out(table, slipped, NOW)
    assert done.rejected.select("observed_date", "reason").rows() == [(day, reason)]
    assert done.rows.height == rows.height - 1


@pytest.mark.realdata
def test_known_spikes_are_rejected_and_the_largest_real_move_is_not(real: dict[str, pl.DataFrame]) -> None:
    rejected = sort_out("fx_daily", real["fx_daily"], NOW).rejected
    found = set(rejected.select("pair", "source", "observed_date").rows())
    documented = {
        *(
            ("USDMYR", "bulk_csv", date.fromisoformat(d))
            for d in ("2012-06-04", "2012-06-11", "2020-07-01", "2024-03-15")
        ),
        *(("USDARS", "bulk_csv", date.fromisoformat(d)) for d in ("2012-06-11", "2012-06-27", "2017-12-28")),
        ("USDCNY", "bulk_csv", date(2024, 7, 16)),
        ("USDCNY", "yahoo", date(2023, 10, 27)),
    }
    assert documented <= found
    assert not any(d.year == 2023 and d.month == 12 for pair, _, d in found if pair == "USDARS")
    assert len(found) < 0.001 * real["fx_daily"].height


@pytest.mark.realdata
def test_the_real_crosses_agree_with_the_other_vendor_on_their_day(real: dict[str, pl.DataFrame]) -> None:
    brl = real["fx_daily"].filter(pl.col("pair") == "USDBRL")
    two = [
        brl.filter(pl.col("source") == source).select("observed_date", pl.col("rate").alias(source))
        for source in ("yahoo", "bulk_csv")
    ]
    moves = (
        two[0]
        .join(two[1], on="observed_date")
        .sort("observed_date")
        .select(pl.all().exclude("observed_date").log().diff())
    )
    here, ahead = (moves.select(pl.corr("yahoo", pl.col("bulk_csv").shift(n))).item() for n in (0, 1))
    assert here > 0.8
    assert abs(ahead) < 0.3


@pytest.mark.realdata
def test_no_close_of_a_real_row_lies_outside_its_range(real: dict[str, pl.DataFrame]) -> None:
    prices = real["vendor_prices_daily"]
    assert prices.filter(~pl.col("close").is_between("low", "high")).is_empty()
    assert prices["close"].null_count() == 0
