"""What the whole program makes of the search."""
