CREATE TABLE IF NOT EXISTS training.zl_training_full_allhistory_{horizon} (
  data_date DATE NOT NULL OPTIONS (description = "Trade date; every feature of the row is known at the decision of that session"),
  symbol STRING NOT NULL OPTIONS (description = "ZL"),
  session_number INT64 NOT NULL OPTIONS (description = "Running number of the exchange session"),
  is_suspect BOOL NOT NULL OPTIONS (description = "The session's bar is not a price of the traded market"),
  close FLOAT64 NOT NULL OPTIONS (description = "Last trade of the session, US cents per lb"),
  {prod_features}
  vol_percentile FLOAT64 OPTIONS (description = "Rank of volatility_21d within its trailing 252 sessions"),
  k_vol FLOAT64 OPTIONS (description = "volatility_21d over its trailing median, clipped"),
  {full_features}
  regime_name STRING NOT NULL OPTIONS (description = "Regime of the v0 set"),
  sample_weight INT64 NOT NULL OPTIONS (description = "Weight of that regime; normalise within a training set"),
  source STRING NOT NULL OPTIONS (description = "databento, or simulated"),
  target_{horizon} FLOAT64 OPTIONS (description = "Close {sessions} sessions ahead over close, minus 1; null where that close does not exist"),
  target_date DATE OPTIONS (description = "Session of the outcome"),
  is_usable BOOL NOT NULL OPTIONS (description = "Neither the session nor the outcome is suspect"),
  split STRING NOT NULL OPTIONS (description = "train, purged or test; test starts 2023-01-01"),
  PRIMARY KEY (data_date, symbol) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(data_date, MONTH)
OPTIONS (description = "The frozen training matrix of one horizon, full surface");
