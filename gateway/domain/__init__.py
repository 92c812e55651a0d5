"""Values, commands and errors, independent of any wire. Standard library only."""
