"""How a table is judged: its rules, Great Expectations, the quarantine."""
