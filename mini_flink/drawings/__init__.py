"""A job's graph for the eye: as text, Mermaid or SVG. Plain data in, text out; nothing is started or written.

``picture`` says what there is to see, ``layers`` where it lies; each other module is one form.
"""
