"""What the operator sees: configuration, work sources, work manager, telemetry, command line."""
