CREATE TABLE IF NOT EXISTS monitoring.family_impact (
  as_of_date DATE NOT NULL OPTIONS (description = "Newest session of the rows the family was judged on"),
  surface STRING NOT NULL OPTIONS (description = "Feature surface the rows come from: prod or full"),
  horizon STRING NOT NULL OPTIONS (description = "1w, 1m, 3m, 6m or 12m"),
  family STRING NOT NULL OPTIONS (description = "Name of the feature family"),
  n_columns INT64 NOT NULL OPTIONS (description = "Columns of the family"),
  base STRING NOT NULL OPTIONS (description = "Columns learnt from without the family, by name; no-change where there is none"),
  n_rows INT64 NOT NULL OPTIONS (description = "Out-of-fold sessions, the same with and without the family"),
  n_independent INT64 NOT NULL OPTIONS (description = "Windows of the horizon that do not overlap in those sessions; below 10 there is no test"),
  loss_with FLOAT64 NOT NULL OPTIONS (description = "Mean absolute error of the return with the family, as a fraction"),
  loss_without FLOAT64 NOT NULL OPTIONS (description = "Mean absolute error of the return without the family, as a fraction"),
  mean_difference FLOAT64 NOT NULL OPTIONS (description = "loss_with minus loss_without over the same sessions, as a fraction; negative helps"),
  interval_low FLOAT64 OPTIONS (description = "Lower end of the moving-block bootstrap interval of mean_difference; null where there is no test"),
  interval_high FLOAT64 OPTIONS (description = "Upper end of that interval"),
  level FLOAT64 NOT NULL OPTIONS (description = "Level of each interval: 1 minus the family-wise error of 0.05, unless chosen otherwise, over the number of families"),
  folds INT64 NOT NULL OPTIONS (description = "Purged walk-forward folds judged"),
  folds_improved_share FLOAT64 NOT NULL OPTIONS (description = "Share of the folds whose mean loss the family lowered, 0 to 1"),
  noise_draws INT64 NOT NULL OPTIONS (description = "Families of pure noise, of equal width, persistence and holes, judged in its place"),
  noise_mean_difference FLOAT64 NOT NULL OPTIONS (description = "Mean of mean_difference over the noise draws, as a fraction"),
  noise_low FLOAT64 NOT NULL OPTIONS (description = "Smallest mean_difference of a noise draw"),
  noise_high FLOAT64 NOT NULL OPTIONS (description = "Largest mean_difference of a noise draw"),
  against_noise_low FLOAT64 OPTIONS (description = "Lower end of the interval of the mean loss with the family minus that with noise; null where there is no test"),
  against_noise_high FLOAT64 OPTIONS (description = "Upper end of that interval"),
  verdict STRING NOT NULL OPTIONS (description = "keep, no effect, investigate (harmful beyond noise, or too good to be true) or not testable"),
  seed INT64 NOT NULL OPTIONS (description = "Seed of noise and bootstrap: with the same rows it gives the same figures"),
  is_simulated BOOL NOT NULL OPTIONS (description = "Judged on a simulated market: says nothing about the real one"),
  run_id STRING NOT NULL OPTIONS (description = "Run that judged the family: Dagster's, or the command's own"),
  created_at TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (as_of_date, surface, horizon, family) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(as_of_date, MONTH)
CLUSTER BY horizon, family
OPTIONS (description = "Evidence per feature family: one row per newest session, surface, horizon and family");
