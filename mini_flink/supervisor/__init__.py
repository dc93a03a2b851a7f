"""The supervisor: the parent of all processes of one server. It never touches a record.

cores, listeners, runtime_folder    what this host offers: cores, the port, a place for sockets
members, spec                       one member per process over all its incarnations; what it is told
loop                                the one loop: signals, exits, messages, restarts, hangs, shut-down
hangs                               which process is stuck: a machine without I/O
report, words, notify               what is said: to ``status``, to a person, to systemd
"""
