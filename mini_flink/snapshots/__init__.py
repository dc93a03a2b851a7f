"""Snapshots at rest: files in a store, what is in them, and which of them are whole.

Never takes or restores one. Called by workers (which write their part), by the supervisor (which writes the
manifest and removes what is old) and by whoever restores or looks into one.
"""
