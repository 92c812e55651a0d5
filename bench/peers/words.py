"""Protocol for peers that have none of their own.

Each of them hears ``sub TOPIC`` and ``pub TOPIC MESSAGE`` and delivers the bare message.
"""

SUBSCRIBE = ("--send", "sub t%m", "--reply-ping")
PUBLISH = ("--pub", "pub t%m %M")
