"""Configuration: settings, their sources, and their faults."""
