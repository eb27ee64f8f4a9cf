"""What a promotion stands on: frozen rows and scores, the decision, the registry, the journal's stores."""
