"""The devices of this machine: found, selected, locked, followed as they come and go, and guarded."""
