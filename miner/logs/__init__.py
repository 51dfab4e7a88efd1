"""Log lines: how they look and where they go, and the table of every event with its level."""
