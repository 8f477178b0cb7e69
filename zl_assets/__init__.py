"""Soybean oil futures (CBOT ZL): from vendor bars to forecasts that say how far to trust them."""
