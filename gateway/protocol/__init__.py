"""Frames, envelopes and codecs: messages and their bytes. Pure."""
