"""Lists of recommendations: their rules, their files, their archive."""
