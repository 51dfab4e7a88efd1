"""The double-SHA-256 nonce search: one description, lowered to each kind of metal."""
