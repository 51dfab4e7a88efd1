"""Kernels that passed their examination, for the processor's search, midstates and emulated chips alike."""
