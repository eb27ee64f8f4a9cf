"""Tables that stages write for one another and for people: their columns, and how they are written and read."""
