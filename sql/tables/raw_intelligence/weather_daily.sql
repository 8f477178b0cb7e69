CREATE TABLE IF NOT EXISTS raw_intelligence.weather_daily (
  station_id STRING NOT NULL OPTIONS (description = "Station or grid point with its network, e.g. GHCND:USW00014933"),
  observed_date DATE NOT NULL OPTIONS (description = "Local day of the weather, not the label of a report that is a day late"),
  region STRING NOT NULL OPTIONS (description = "US_Midwest, Brazil or Argentina"),
  tmin_c FLOAT64 OPTIONS (description = "Lowest temperature, degrees Celsius"),
  tmax_c FLOAT64 OPTIONS (description = "Highest temperature, degrees Celsius"),
  tavg_c FLOAT64 OPTIONS (description = "Mean temperature, degrees Celsius"),
  precip_mm FLOAT64 OPTIONS (description = "Precipitation, mm"),
  adjustments STRING OPTIONS (description = "What was done to the vendor's values, if anything"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (station_id, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY station_id
OPTIONS (description = "Weather of stations and grid points by day");
