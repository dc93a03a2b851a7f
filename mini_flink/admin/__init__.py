"""The admin process: what operators see and do, apart from the processes that serve requests."""
