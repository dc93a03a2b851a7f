"""The process that makes the next generation's folders, beside the old workers and after their end."""
