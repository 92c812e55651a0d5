"""What happens next: pure state machines that are told things and answer with data."""
