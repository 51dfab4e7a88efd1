"""What stays on disk: the state folder, the ledger, the share log, the summary."""
