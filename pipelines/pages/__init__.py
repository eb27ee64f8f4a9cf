"""What the pages for people share."""
