"""USB devices down to descriptors and control transfers: FTDI, CP2105 and CDC-ACM bridges."""
