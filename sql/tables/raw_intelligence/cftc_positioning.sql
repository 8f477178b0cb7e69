CREATE TABLE IF NOT EXISTS raw_intelligence.cftc_positioning (
  contract_code STRING NOT NULL OPTIONS (description = "CFTC contract market code, e.g. 007601 soybean oil"),
  report STRING NOT NULL OPTIONS (description = "legacy_combined, legacy_futures or disaggregated_combined"),
  observed_date DATE NOT NULL OPTIONS (description = "Day the positions were held, mostly a Tuesday"),
  commodity STRING NOT NULL OPTIONS (description = "Name of the commodity"),
  open_interest FLOAT64 OPTIONS (description = "All open contracts"),
  commercial_long FLOAT64 OPTIONS (description = "Contracts held long by commercials"),
  commercial_short FLOAT64 OPTIONS (description = "Contracts held short by commercials"),
  noncommercial_long FLOAT64 OPTIONS (description = "Contracts held long by non-commercials, spreads left out"),
  noncommercial_short FLOAT64 OPTIONS (description = "Contracts held short by non-commercials, spreads left out"),
  managed_money_long FLOAT64 OPTIONS (description = "Contracts held long by managed money; disaggregated report alone"),
  managed_money_short FLOAT64 OPTIONS (description = "Contracts held short by managed money; disaggregated report alone"),
  source STRING NOT NULL OPTIONS (description = "Who published it, as the vendor is called; simulated: in front of it for a simulated market"),
  vintage DATE OPTIONS (description = "Day from which this value was the published one, where the vendor says so; null where only the latest revision is known"),
  available_at TIMESTAMP NOT NULL OPTIONS (description = "When the public could know the value, UTC; a revision is a row of its own with its own moment"),
  ingest_timestamp TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  provenance_uuid STRING NOT NULL OPTIONS (description = "Identifies the content of the file or answer it came from"),
  PRIMARY KEY (contract_code, report, observed_date, source, available_at) NOT ENFORCED
)
PARTITION BY DATE_TRUNC(observed_date, MONTH)
CLUSTER BY contract_code
OPTIONS (description = "Positions of traders as the CFTC reports them weekly");
