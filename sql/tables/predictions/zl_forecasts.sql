CREATE TABLE IF NOT EXISTS predictions.zl_forecasts (
  as_of_date DATE NOT NULL OPTIONS (description = "Session the forecast was made after"),
  data_as_of DATE NOT NULL OPTIONS (description = "Newest session whose data the forecast uses"),
  horizon STRING NOT NULL OPTIONS (description = "1w, 1m, 3m, 6m or 12m"),
  target_date DATE NOT NULL OPTIONS (description = "Session the forecast is for"),
  model STRING NOT NULL OPTIONS (description = "Name of the model"),
  model_version STRING NOT NULL OPTIONS (description = "Hash of configuration and training data; v0 for no_change"),
  run_id STRING NOT NULL OPTIONS (description = "Dagster run that made the forecast"),
  surface STRING NOT NULL OPTIONS (description = "Feature surface: prod or full"),
  current_price FLOAT64 NOT NULL OPTIONS (description = "Close of as_of_date, US cents per lb"),
  predicted_return FLOAT64 NOT NULL OPTIONS (description = "Simple return to the target date"),
  predicted_price FLOAT64 NOT NULL OPTIONS (description = "current_price times 1 + predicted_return"),
  q05 FLOAT64 NOT NULL OPTIONS (description = "5 % quantile of the price at the target date"),
  q10 FLOAT64 NOT NULL OPTIONS (description = "10 % quantile"),
  q25 FLOAT64 NOT NULL OPTIONS (description = "25 % quantile"),
  q50 FLOAT64 NOT NULL OPTIONS (description = "Median"),
  q75 FLOAT64 NOT NULL OPTIONS (description = "75 % quantile"),
  q90 FLOAT64 NOT NULL OPTIONS (description = "90 % quantile"),
  q95 FLOAT64 NOT NULL OPTIONS (description = "95 % quantile"),
  no_change_mae FLOAT64 NOT NULL OPTIONS (description = "Mean absolute error of no-change out of fold, in returns, on the rows the model was scored on"),
  model_mae FLOAT64 NOT NULL OPTIONS (description = "Mean absolute error of the model out of fold, in returns"),
  skill_vs_no_change FLOAT64 NOT NULL OPTIONS (description = "1 - model_mae / no_change_mae"),
  n_independent INT64 NOT NULL OPTIONS (description = "Windows of the horizon that do not overlap in the out-of-fold rows"),
  is_champion BOOL NOT NULL OPTIONS (description = "The forecast that is published for its horizon"),
  champion_reason STRING NOT NULL OPTIONS (description = "Why it is, or is not, published"),
  is_simulated BOOL NOT NULL OPTIONS (description = "Made from a simulated market: worthless as a forecast"),
  created_at TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (as_of_date, horizon, model, model_version) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(as_of_date, MONTH)
CLUSTER BY horizon, model
OPTIONS (description = "Forecasts: one row per as-of date, horizon, model and model version");
