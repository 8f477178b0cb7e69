CREATE TABLE IF NOT EXISTS raw_intelligence.quarantine (
  quarantine_id STRING NOT NULL OPTIONS (description = "Identifies the rejected row and the reason; the same row rejected twice is one row here"),
  stage STRING NOT NULL OPTIONS (description = "Where it was rejected: vendor_bars, sessions or series"),
  reason STRING NOT NULL OPTIONS (description = "Name of the rule it broke"),
  symbol STRING OPTIONS (description = "Symbol, or name of the series, as the row carried it, where it could be read"),
  observed_date DATE OPTIONS (description = "Day the row speaks of, where it could be read"),
  ts_event TIMESTAMP OPTIONS (description = "Start of the bar the row speaks of, UTC, where it could be read"),
  rtype INT64 OPTIONS (description = "Record type of the bar: 34 hourly, 35 daily, where it could be read"),
  original STRING NOT NULL OPTIONS (description = "The row as delivered, as a JSON object"),
  source STRING NOT NULL OPTIONS (description = "Vendor, or simulated"),
  source_file STRING NOT NULL OPTIONS (description = "File the row came from; for a series the source and its table"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When it was first rejected"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the vendor file"),
  PRIMARY KEY (quarantine_id) NOT ENFORCED
)
OPTIONS (description = "Every rejected row, with the reason and the original");
