CREATE TABLE IF NOT EXISTS raw_intelligence.volatility_daily (
  series_id STRING NOT NULL OPTIONS (description = "VIX"),
  observed_date DATE NOT NULL OPTIONS (description = "Trading day"),
  open FLOAT64 OPTIONS (description = "First value of the day, index points"),
  high FLOAT64 OPTIONS (description = "Highest value of the day"),
  low FLOAT64 OPTIONS (description = "Lowest value of the day"),
  close FLOAT64 OPTIONS (description = "Last value of the day, index points"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (series_id, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY series_id
OPTIONS (description = "Volatility indices by day");
