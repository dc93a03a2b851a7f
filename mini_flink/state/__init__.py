"""Where state lives: the commit log, the table behind it, and the overlay in front of both.

``base`` holds the contracts of the devices, ``log`` and ``lmdb`` the real ones, ``memory`` their in-memory
twins.
"""
