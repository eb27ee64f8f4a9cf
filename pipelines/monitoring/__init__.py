"""What is watched from day to day: drift, incidents."""
