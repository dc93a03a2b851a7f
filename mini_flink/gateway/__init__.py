"""The gateway: HTTP on one side, records on the other."""
