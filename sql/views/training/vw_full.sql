-- The training view of one horizon over the full surface, without a JOIN; outcome and split as in vw_flat.
CREATE OR REPLACE VIEW training.vw_{instrument}_{horizon}_full AS
WITH labelled AS (
  SELECT
    * EXCEPT (ingestion_ts),
    MAX(close) OVER outcome / close - 1 AS target_{horizon},
    MAX(data_date) OVER outcome AS target_date,
    NOT is_suspect AND COALESCE(MAX(IF(is_suspect, 1, 0)) OVER outcome, 0) = 0 AS is_usable
  FROM features.daily_ml_matrix_full
  WHERE symbol = '{symbol}'
  WINDOW outcome AS (
    ORDER BY session_number
    RANGE BETWEEN {sessions} FOLLOWING AND {sessions} FOLLOWING
  )
)
SELECT
  *,
  CASE
    WHEN NOT is_usable OR ma_63 IS NULL THEN 'purged'
    WHEN data_date >= DATE '2023-01-01' THEN 'test'
    WHEN target_date < DATE '2023-01-01' THEN 'train'
    ELSE 'purged'
  END AS split
FROM labelled
