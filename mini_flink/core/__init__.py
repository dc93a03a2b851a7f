"""State machines without I/O: channels, commits, pending requests, shares, restarts.

No sockets, no clock, no threads: time comes in as an argument, effects go out as data.
"""
