"""How forecasts are judged: purged folds, error measures, and the rule that picks a champion."""
