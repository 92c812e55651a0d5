"""Who connects thousands of phones and counts what they get?"""
