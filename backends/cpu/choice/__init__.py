"""Which kernels the processor hashes with: compiled, examined and measured in child processes, then remembered."""
