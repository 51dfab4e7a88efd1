"""How fast this processor searches."""
