CREATE TABLE IF NOT EXISTS raw_intelligence.policy_events (
  event_id STRING NOT NULL OPTIONS (description = "Identifier of the document, unique with its source"),
  observed_date DATE NOT NULL OPTIONS (description = "Day of publication"),
  category STRING NOT NULL OPTIONS (description = "executive_order, proclamation, rule, proposed_rule, notice or social_media"),
  title STRING NOT NULL OPTIONS (description = "Title as published"),
  agricultural_impact FLOAT64 OPTIONS (description = "Keyword score of the vendor, 0 and more; null where there is none"),
  soybean_relevance FLOAT64 OPTIONS (description = "Keyword score of the vendor, 0 and more; null where there is none"),
  priority INT64 OPTIONS (description = "Rank by the vendor, whose sense differs by source; null where there is none"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (event_id, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY category
OPTIONS (description = "Policy documents and announcements");
