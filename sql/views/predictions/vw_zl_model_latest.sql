-- The newest forecast of one model for one horizon, published or not: exactly one row.
CREATE OR REPLACE VIEW predictions.vw_zl_{horizon}_{model}_latest AS
SELECT *
FROM predictions.zl_forecasts
WHERE horizon = '{horizon}' AND model = '{model}'
QUALIFY ROW_NUMBER() OVER (ORDER BY as_of_date DESC, created_at DESC, model_version) = 1
