"""Who runs it: tasks, timers and ports; knows no vendor."""
