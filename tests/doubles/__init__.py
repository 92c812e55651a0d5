"""Test doubles of external systems; the contract suites prove them equal to the real adapters."""
