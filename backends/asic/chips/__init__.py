"""Mining chips as codecs: bytes and numbers in, bytes and numbers out; no I/O, no clock."""
