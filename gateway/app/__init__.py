"""How a process is put together: settings, logging, wiring, command line."""
