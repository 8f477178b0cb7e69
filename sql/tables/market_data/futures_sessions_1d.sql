CREATE TABLE IF NOT EXISTS market_data.futures_sessions_1d (
  symbol STRING NOT NULL OPTIONS (description = "Exchange root of the futures product, e.g. ZL"),
  trade_date DATE NOT NULL OPTIONS (description = "Date the exchange books the session under"),
  session_number INT64 NOT NULL OPTIONS (description = "Running number of the exchange session since 1990-01-01; a session without data leaves a hole"),
  open FLOAT64 NOT NULL OPTIONS (description = "First trade of the session, in the unit of the instrument"),
  high FLOAT64 NOT NULL OPTIONS (description = "Highest trade of the session"),
  low FLOAT64 NOT NULL OPTIONS (description = "Lowest trade of the session"),
  close FLOAT64 NOT NULL OPTIONS (description = "Last trade of the session; from daily bars, of the UTC day"),
  volume INT64 NOT NULL OPTIONS (description = "Contracts traded on Globex in the session, in the contract month of the session"),
  vwap FLOAT64 OPTIONS (description = "Volume-weighted mean of hourly typical prices (H+L+C)/3; null without hourly bars"),
  realized_vol_1h FLOAT64 OPTIONS (description = "Square root of the sum of squared hourly log returns of the session; null without hourly bars"),
  instrument_id INT64 NOT NULL OPTIONS (description = "Vendor id of the contract month of the session"),
  is_roll BOOL NOT NULL OPTIONS (description = "The contract month differs from that of the previous session; never set by a suspect session"),
  roll_ratio FLOAT64 OPTIONS (description = "On a roll: open over previous close, which holds the overnight move too; else null"),
  close_roll_adjusted FLOAT64 NOT NULL OPTIONS (description = "Close divided by all roll ratios so far: returns without roll gaps, levels in terms of the first contract month"),
  is_suspect BOOL NOT NULL OPTIONS (description = "The bar is not a price of the traded market: kept, flagged, never trained on"),
  suspect_reason STRING OPTIONS (description = "thin_wrong_month or bad_print; null where not suspect"),
  built_from STRING NOT NULL OPTIONS (description = "1h: exact trade date from hourly bars; 1d: folded from UTC-day bars"),
  source STRING NOT NULL OPTIONS (description = "databento, or simulated"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the close could be known: end of the session, or of the UTC day for sessions from daily bars"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the vendor file of the session's last bar"),
  PRIMARY KEY (symbol, trade_date) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(trade_date, MONTH)
CLUSTER BY symbol
OPTIONS (description = "Trading sessions: one row per symbol and trade date");
