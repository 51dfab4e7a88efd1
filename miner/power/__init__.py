"""What the machine burns and what that costs: readings into joules, joules into money. No device is driven here."""
