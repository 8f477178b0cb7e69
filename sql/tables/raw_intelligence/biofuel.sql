CREATE TABLE IF NOT EXISTS raw_intelligence.biofuel (
  item STRING NOT NULL OPTIONS (description = "What the value measures, e.g. rfs_mandate_total, soybean_oil_for_biofuel"),
  observed_date DATE NOT NULL OPTIONS (description = "Compliance year (1 January), month or day the value is about: never the day of publication"),
  value FLOAT64 OPTIONS (description = "Value in the unit of the row"),
  unit STRING NOT NULL OPTIONS (description = "Unit of the value"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (item, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY item
OPTIONS (description = "Biofuel mandates, feedstocks, production and prices");
