CREATE TABLE IF NOT EXISTS archive.shims (
  legacy_name STRING NOT NULL OPTIONS (description = "The name of before, under which a view shows the target"),
  target STRING NOT NULL OPTIONS (description = "The table as it is called now"),
  created_on DATE NOT NULL OPTIONS (description = "Day 0 of the grace period, a calendar day in UTC"),
  expires_on DATE NOT NULL OPTIONS (description = "Day 30, the last day of the grace period"),
  created_at TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (legacy_name) NOT ENFORCED
)
OPTIONS (description = "The shim views that exist, and until when: one row for each renamed table that is still read under its legacy name")
