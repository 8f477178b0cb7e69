CREATE TABLE IF NOT EXISTS training.regime_weights (
  regime_set STRING NOT NULL OPTIONS (description = "v0: the seven regimes the feature matrix uses; research: the eleven of the long history"),
  regime STRING NOT NULL OPTIONS (description = "Name of the regime"),
  start_date DATE NOT NULL OPTIONS (description = "First day, inclusive"),
  end_date DATE NOT NULL OPTIONS (description = "Last day, inclusive"),
  weight INT64 NOT NULL OPTIONS (description = "Relative training weight of its rows, normalised before use"),
  is_overlay BOOL NOT NULL OPTIONS (description = "True where no calendar day belongs to the regime"),
  description STRING NOT NULL OPTIONS (description = "What set the period apart"),
  research_rationale STRING NOT NULL OPTIONS (description = "Why it carries the weight it does"),
  assigned_on DATE NOT NULL OPTIONS (description = "When name and limits were chosen: after the fact"),
  created_at TIMESTAMP NOT NULL OPTIONS (description = "When the row was first stored, or last changed"),
  PRIMARY KEY (regime_set, regime) NOT ENFORCED
)
OPTIONS (description = "Market regimes and their training weights, two named sets");
