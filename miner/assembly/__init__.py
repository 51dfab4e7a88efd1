"""From configuration to parts: the only room that knows both. It builds sources, strategies, meters and alarms."""
