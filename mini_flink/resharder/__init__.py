"""The process that makes the next generation's folders while the old workers serve, and after they stopped."""
