CREATE TABLE IF NOT EXISTS market_data.databento_futures_ohlcv_1d (
  symbol STRING NOT NULL OPTIONS (description = "Exchange root of the futures product, e.g. ZL"),
  bar_date DATE NOT NULL OPTIONS (description = "UTC day of the bar; not the trade date before 2013-04-08"),
  ts_event TIMESTAMP NOT NULL OPTIONS (description = "Start of the bar, UTC midnight"),
  vendor_symbol STRING NOT NULL OPTIONS (description = "Continuous symbol as the vendor writes it, e.g. ZL.v.0"),
  instrument_id INT64 NOT NULL OPTIONS (description = "Vendor id of the contract month behind the continuous symbol that day"),
  publisher_id INT64 NOT NULL OPTIONS (description = "Vendor id of the venue; 0 marks simulated bars"),
  open FLOAT64 NOT NULL OPTIONS (description = "First trade of the UTC day, in the unit of the instrument"),
  high FLOAT64 NOT NULL OPTIONS (description = "Highest trade of the UTC day"),
  low FLOAT64 NOT NULL OPTIONS (description = "Lowest trade of the UTC day"),
  close FLOAT64 NOT NULL OPTIONS (description = "Last trade of the UTC day; not the settlement"),
  volume INT64 NOT NULL OPTIONS (description = "Contracts traded on Globex in the UTC day"),
  built_from STRING NOT NULL OPTIONS (description = "1d: delivered as a daily bar; 1h: aggregated here from delivered hourly bars"),
  source STRING NOT NULL OPTIONS (description = "databento, or simulated"),
  source_file STRING NOT NULL OPTIONS (description = "Vendor file the bar came from"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "End of the bar: the first moment the public could know it"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the vendor file"),
  PRIMARY KEY (symbol, bar_date) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(bar_date, MONTH)
CLUSTER BY symbol
OPTIONS (description = "Vendor bars as delivered: one row per symbol and UTC day");
