CREATE TABLE IF NOT EXISTS raw_intelligence.usda_export_sales (
  commodity STRING NOT NULL OPTIONS (description = "soybeans, soybean_oil or soybean_meal"),
  country STRING NOT NULL OPTIONS (description = "Destination; ALL for the total"),
  observed_date DATE NOT NULL OPTIONS (description = "Thursday on which the reported week ends"),
  marketing_year INT64 NOT NULL OPTIONS (description = "Year in which the marketing year begins"),
  net_sales_t FLOAT64 OPTIONS (description = "Net sales of the week, tonnes"),
  exports_t FLOAT64 OPTIONS (description = "Shipped in the week, tonnes"),
  outstanding_t FLOAT64 OPTIONS (description = "Sold and not yet shipped, tonnes"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (commodity, country, observed_date, marketing_year, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY commodity
OPTIONS (description = "Weekly export sales of the USDA");
