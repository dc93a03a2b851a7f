"""The units for systemd, as they are installed, and what puts them in place.

mini-flink@.service, .socket, mini-flink.slice   the templates: one instance per job
install                                          the files of one instance
"""
