"""How fast graphics cards search."""
