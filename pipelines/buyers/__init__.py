"""What buyers say: the votes and quotes that reviews come to."""
