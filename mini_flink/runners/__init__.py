"""Runners put a job together with its devices: they alone choose between the twins."""
