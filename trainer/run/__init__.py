"""One run: its objects, the loop, its files, sessions that continue it, and the use of what it trained."""
