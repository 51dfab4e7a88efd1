"""What USB miners cost their host."""
