"""Emulated BM13xx chains: frames, registers, jobs, and a search that really hashes."""
