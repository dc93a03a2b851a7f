"""Traces: what a span is here, W3C's headers, OpenTelemetry and its twin in memory."""
