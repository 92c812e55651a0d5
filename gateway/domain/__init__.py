"""What is true however it travels. Standard library only."""
