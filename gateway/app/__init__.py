"""Assembly of a process: settings, logging, wiring, command line."""
