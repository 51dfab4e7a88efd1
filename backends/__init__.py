"""Devices behind one narrow interface (`backends.base`)."""
