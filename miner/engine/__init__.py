"""The running machine: the event loop's shell around the work manager, a keeper for each device, and the snapshot."""
