"""How soon a pool's work is hashed on."""
