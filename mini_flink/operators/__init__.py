"""What runs in a worker: a plan's stage becomes a ``Task`` of nested closures.

``runtime`` builds tasks; ``registry`` lists the kinds of operators, each a file that turns a node and what
follows it into a callable. Nothing in here knows of channels, commits or processes: it is given a store, a
registry of states and an output.
"""
