"""Pure state machines: they get inputs and the time, and return data."""
