CREATE TABLE IF NOT EXISTS features.daily_ml_matrix (
  data_date DATE NOT NULL OPTIONS (description = "Trade date; every value of the row is known after the settlement of that session"),
  symbol STRING NOT NULL OPTIONS (description = "Exchange root of the futures product, e.g. ZL"),
  session_number INT64 NOT NULL OPTIONS (description = "Running number of the exchange session since 1990-01-01; targets count in it"),
  is_suspect BOOL NOT NULL OPTIONS (description = "The session's bar is not a price of the traded market: never trained on"),
  market_data STRUCT<
    open FLOAT64 OPTIONS (description = "First trade of the session, US cents per lb for ZL"),
    high FLOAT64 OPTIONS (description = "Highest trade of the session"),
    low FLOAT64 OPTIONS (description = "Lowest trade of the session"),
    close FLOAT64 OPTIONS (description = "Last trade of the session, not roll-adjusted"),
    volume INT64 OPTIONS (description = "Contracts traded on Globex in the session"),
    vwap FLOAT64 OPTIONS (description = "Volume-weighted mean price from hourly bars"),
    realized_vol_1h FLOAT64 OPTIONS (description = "Square root of the sum of squared hourly log returns")
  > NOT NULL OPTIONS (description = "The session's bar"),
  pivots STRUCT<
    P FLOAT64 OPTIONS (description = "Pivot (H+L+C)/3 of the previous session"),
    R1 FLOAT64 OPTIONS (description = "First resistance 2P-L"),
    R2 FLOAT64 OPTIONS (description = "Second resistance P+(H-L)"),
    S1 FLOAT64 OPTIONS (description = "First support 2P-H"),
    S2 FLOAT64 OPTIONS (description = "Second support P-(H-L)"),
    distance_to_P FLOAT64 OPTIONS (description = "Close minus P"),
    distance_to_nearest_pivot FLOAT64 OPTIONS (description = "Smallest distance of the close to a level"),
    weekly_pivot_distance FLOAT64 OPTIONS (description = "Close minus the pivot of the completed week before"),
    price_above_P BOOL OPTIONS (description = "Close above P")
  > OPTIONS (description = "Floor pivots; null until the pivots family is built"),
  policy STRUCT<
    trump_action_prob FLOAT64 OPTIONS (description = "Probability of a policy action"),
    trump_expected_zl_move FLOAT64 OPTIONS (description = "Expected move of ZL"),
    trump_score FLOAT64 OPTIONS (description = "Policy score"),
    trump_score_signed FLOAT64 OPTIONS (description = "Policy score signed by sentiment"),
    trump_confidence FLOAT64 OPTIONS (description = "Confidence of the score"),
    trump_sentiment_7d FLOAT64 OPTIONS (description = "Seven-day sentiment"),
    trump_tariff_intensity FLOAT64 OPTIONS (description = "100 tanh(score/50)"),
    trump_procurement_alert BOOL OPTIONS (description = "Alert for procurement"),
    trump_mentions INT64 OPTIONS (description = "Mentions"),
    trumpxi_china_mentions INT64 OPTIONS (description = "Mentions of China"),
    trumpxi_sentiment_volatility FLOAT64 OPTIONS (description = "Volatility of sentiment"),
    trumpxi_policy_impact FLOAT64 OPTIONS (description = "Impact of policy"),
    trumpxi_volatility_30d_ma FLOAT64 OPTIONS (description = "30-day mean of sentiment volatility"),
    trump_soybean_sentiment_7d FLOAT64 OPTIONS (description = "Seven-day soybean sentiment"),
    policy_trump_topic_multiplier FLOAT64 OPTIONS (description = "Topic multiplier"),
    policy_trump_recency_decay FLOAT64 OPTIONS (description = "Recency decay exp(-hours/24)")
  > OPTIONS (description = "Policy signals; null until the policy family is built"),
  golden_zone STRUCT<
    state INT64 OPTIONS (description = "0 outside, 1 between the levels, 2 beyond 61.8 %"),
    swing_high FLOAT64 OPTIONS (description = "Last confirmed swing high"),
    swing_low FLOAT64 OPTIONS (description = "Last confirmed swing low"),
    fib_50 FLOAT64 OPTIONS (description = "50 % retracement"),
    fib_618 FLOAT64 OPTIONS (description = "61.8 % retracement"),
    vol_decay_slope FLOAT64 OPTIONS (description = "Slope of volume over five sessions"),
    qualified_trigger BOOL OPTIONS (description = "Close back above the 50 % level on volume")
  > OPTIONS (description = "Retracement state; null until the golden zone family is built"),
  regime STRUCT<
    name STRING OPTIONS (description = "Regime of the v0 set"),
    weight INT64 OPTIONS (description = "Training weight of the regime"),
    vol_percentile FLOAT64 OPTIONS (description = "Rank of volatility_21d within its trailing 252 sessions, (0, 1]"),
    k_vol FLOAT64 OPTIONS (description = "volatility_21d over its trailing 252-session median, clipped to [0.5, 2.5]")
  > NOT NULL OPTIONS (description = "Regime of the day and state of volatility"),
  {matrix_features}
  source STRING NOT NULL OPTIONS (description = "databento, or simulated"),
  ingestion_ts TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (data_date, symbol) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(data_date, MONTH)
CLUSTER BY symbol
OPTIONS (description = "The feature matrix: one row per session and symbol, each value known after that session's settlement");
