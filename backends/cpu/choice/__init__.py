"""Which kernels the processor hashes with: compiled, examined and measured in processes of their own, then remembered."""
