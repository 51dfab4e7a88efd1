"""Graphics cards, and whatever else speaks OpenCL, as devices."""
