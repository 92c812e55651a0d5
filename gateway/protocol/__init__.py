"""How it is written down: frames, envelopes, codec. Pure."""
