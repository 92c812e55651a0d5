"""Stand-ins for the outside world; the contract suites prove them equal to what they stand for."""
