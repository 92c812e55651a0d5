"""Pure state machines: they receive inputs and the time, and return data."""
