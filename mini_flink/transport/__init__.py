"""Messages between processes: a small protocol, a real twin (ZeroMQ) and one in memory.

``base`` is what the loops are written against; only the runners and the processes' mains choose a twin.
"""
