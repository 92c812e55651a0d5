"""Protocol for peers without their own.

Each of them accepts ``sub TOPIC`` and ``pub TOPIC MESSAGE``, and delivers the bare message.
"""

SUBSCRIBE = ("--send", "sub t%m", "--reply-ping")
PUBLISH = ("--pub", "pub t%m %M")
