"""Tasks, timers and ports around the core; knows no vendor."""
