"""How fast, how large, how quick to come back: measured in one run, beside a bare Starlette handler.

``python -m bench`` runs everything; see ``__main__`` for the options and ``servers`` for what is compared.
Never part of the tests.
"""
