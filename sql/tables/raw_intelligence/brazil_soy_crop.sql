CREATE TABLE IF NOT EXISTS raw_intelligence.brazil_soy_crop (
  harvest_year INT64 NOT NULL OPTIONS (description = "Year of the harvest, e.g. 2025 for 2024/25"),
  observed_date DATE NOT NULL OPTIONS (description = "Day the vendor dates the harvest year by"),
  area_kha FLOAT64 OPTIONS (description = "Area, 1000 ha"),
  production_kt FLOAT64 OPTIONS (description = "Production, 1000 t"),
  yield_t_per_ha FLOAT64 OPTIONS (description = "Yield, t per ha"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (harvest_year, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
OPTIONS (description = "Soybean area, production and yield of Brazil, latest estimate per harvest year");
