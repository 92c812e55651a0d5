"""Tasks, timers and ports around the core; independent of the server's protocol."""
