CREATE TABLE IF NOT EXISTS raw_intelligence.treasury_daily (
  tenor STRING NOT NULL OPTIONS (description = "2Y, 10Y, 30Y"),
  observed_date DATE NOT NULL OPTIONS (description = "Trading day"),
  open FLOAT64 OPTIONS (description = "First yield of the day, percent"),
  high FLOAT64 OPTIONS (description = "Highest yield of the day"),
  low FLOAT64 OPTIONS (description = "Lowest yield of the day"),
  close FLOAT64 OPTIONS (description = "Last yield of the day, or the constant-maturity yield, percent"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (tenor, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY tenor
OPTIONS (description = "Yields of US treasuries by day");
