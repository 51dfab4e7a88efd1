"""Emulated boards, down to descriptors and control transfers: to try the miner, and to test its drivers.

Written from the boards' reference alone: nothing here imports `chips/` or `boards/`.
"""
