CREATE TABLE IF NOT EXISTS training.regime_calendar (
  calendar_date DATE NOT NULL OPTIONS (description = "Every calendar day from 1990-01-01"),
  regime STRING NOT NULL OPTIONS (description = "Regime of the research set"),
  weight INT64 NOT NULL OPTIONS (description = "Weight of that regime"),
  regime_v0 STRING OPTIONS (description = "Regime of the v0 set; null before 2010"),
  weight_v0 INT64 OPTIONS (description = "Weight of the v0 regime; null before 2010"),
  created_at TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (calendar_date) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(calendar_date, MONTH)
OPTIONS (description = "The regime of every day, exactly one a day");
