CREATE TABLE IF NOT EXISTS raw_intelligence.usda_crop_progress (
  state STRING NOT NULL OPTIONS (description = "State in capitals; US TOTAL for the nation"),
  statistic STRING NOT NULL OPTIONS (description = "What the percentage is of, e.g. soybeans_planted; unknown where the vendor's label is wrong"),
  observed_date DATE NOT NULL OPTIONS (description = "Sunday on which the reported week ends"),
  value_pct FLOAT64 OPTIONS (description = "Percent"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (state, statistic, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY state
OPTIONS (description = "Weekly crop progress of the USDA");
