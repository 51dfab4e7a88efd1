"""What watching a farm takes."""
