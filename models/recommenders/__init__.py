"""Recommenders and their baselines: one interface, numpy at inference, Lightning only where they are trained."""
