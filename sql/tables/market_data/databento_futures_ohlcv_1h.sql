CREATE TABLE IF NOT EXISTS market_data.databento_futures_ohlcv_1h (
  symbol STRING NOT NULL OPTIONS (description = "Exchange root of the futures product, e.g. ZL"),
  ts_event TIMESTAMP NOT NULL OPTIONS (description = "Start of the hour, UTC"),
  vendor_symbol STRING NOT NULL OPTIONS (description = "Continuous symbol as the vendor writes it, e.g. ZL.v.0"),
  instrument_id INT64 NOT NULL OPTIONS (description = "Vendor id of the contract month behind the continuous symbol that day"),
  publisher_id INT64 NOT NULL OPTIONS (description = "Vendor id of the venue; 0 marks simulated bars"),
  open FLOAT64 NOT NULL OPTIONS (description = "First trade of the hour, in the unit of the instrument"),
  high FLOAT64 NOT NULL OPTIONS (description = "Highest trade of the hour"),
  low FLOAT64 NOT NULL OPTIONS (description = "Lowest trade of the hour"),
  close FLOAT64 NOT NULL OPTIONS (description = "Last trade of the hour"),
  volume INT64 NOT NULL OPTIONS (description = "Contracts traded on Globex in the hour"),
  source STRING NOT NULL OPTIONS (description = "databento, or simulated"),
  source_file STRING NOT NULL OPTIONS (description = "Vendor file the bar came from"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "End of the bar: the first moment the public could know it"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the vendor file"),
  PRIMARY KEY (symbol, ts_event) NOT ENFORCED
)
PARTITION BY TIMESTAMP_TRUNC(ts_event, MONTH)
CLUSTER BY symbol
OPTIONS (description = "Hourly vendor bars as delivered: one row per symbol and hour with a trade");
