-- The published forecast of one horizon: exactly one row, the champion of the newest as-of date.
CREATE OR REPLACE VIEW predictions.vw_zl_{horizon}_latest AS
SELECT *
FROM predictions.zl_forecasts
WHERE horizon = '{horizon}' AND is_champion
QUALIFY ROW_NUMBER() OVER (ORDER BY as_of_date DESC, created_at DESC, model_version) = 1
