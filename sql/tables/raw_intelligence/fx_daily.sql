CREATE TABLE IF NOT EXISTS raw_intelligence.fx_daily (
  pair STRING NOT NULL OPTIONS (description = "Base and quote currency, e.g. USDBRL is BRL per USD; DXY is the dollar index"),
  observed_date DATE NOT NULL OPTIONS (description = "Trading day of the market, not the label of a vendor that is a day late"),
  rate FLOAT64 OPTIONS (description = "Quote currency per unit of base currency"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (pair, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY pair
OPTIONS (description = "Exchange rates by day");
