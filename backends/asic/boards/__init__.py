"""What is wired to what: per board the order of its start, its clock's ramp, its sensors, and how it is turned off."""
