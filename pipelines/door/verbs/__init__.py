"""One module a verb, found by its name; each holds `VERB`."""
