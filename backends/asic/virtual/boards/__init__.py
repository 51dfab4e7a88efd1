"""What is wired to what on each virtual board."""
