from __future__ import annotations

# A package of its own, with tests of its own: test_thirdparty.py installs the one and runs the other.
collect_ignore = ["thirdparty"]
