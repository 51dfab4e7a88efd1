"""The chips' language: frames, checksums, registers, clocks and nonces as bytes and values. No I/O, no clock."""
