"""Which programs drive the clients that the project itself offers?"""
