"""Looking at a shop's files: what they are, what of them is ours, what a person must decide."""
