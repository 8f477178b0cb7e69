-- The training view of one instrument and horizon over the feature matrix, without a JOIN.
--
-- The outcome lies {sessions} exchange sessions ahead. RANGE over session_number finds exactly that session:
-- where the vendor has no data for it, the target is null, never the close of a neighbour.
-- Left out of learning and scoring ('purged'): suspect sessions, targets that end in one, and rows before the
-- test period whose outcome is not known before it starts.
CREATE OR REPLACE VIEW training.vw_{instrument}_{horizon}_flat AS
WITH labelled AS (
  SELECT
    data_date,
    symbol,
    session_number,
    is_suspect,
    market_data.close AS close,
    {selected_features}
    regime.vol_percentile AS vol_percentile,
    regime.k_vol AS k_vol,
    regime.name AS regime_name,
    regime.weight AS sample_weight,
    source,
    MAX(market_data.close) OVER outcome / market_data.close - 1 AS target_{horizon},
    MAX(data_date) OVER outcome AS target_date,
    NOT is_suspect AND COALESCE(MAX(IF(is_suspect, 1, 0)) OVER outcome, 0) = 0 AS is_usable
  FROM features.daily_ml_matrix
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
