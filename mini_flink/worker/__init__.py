"""The worker process: the engine of core/ with its devices around it. It loads no HTTP code."""
