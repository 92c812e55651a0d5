"""Load generators: they connect thousands of phones and count what these receive."""
