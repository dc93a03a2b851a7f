"""Lengths of time, with the names of ``pyflink.common.time``."""

from __future__ import annotations

from dataclasses import dataclass

_NANOS_PER_MILLI = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, kept in nanoseconds.

    >>> Duration.of_seconds(2).to_millis()
    2000
    """

    nanos: int

    @classmethod
    def of_days(cls, days: int) -> Duration:
        return cls.of_hours(days * 24)

    @classmethod
    def of_hours(cls, hours: int) -> Duration:
        return cls.of_minutes(hours * 60)

    @classmethod
    def of_minutes(cls, minutes: int) -> Duration:
        return cls.of_seconds(minutes * 60)

    @classmethod
    def of_seconds(cls, seconds: int, nano_adjustment: int = 0) -> Duration:
        return cls(seconds * 1_000_000_000 + nano_adjustment)

    @classmethod
    def of_millis(cls, millis: int) -> Duration:
        return cls(millis * _NANOS_PER_MILLI)

    @classmethod
    def of_nanos(cls, nanos: int) -> Duration:
        return cls(nanos)

    def to_millis(self) -> int:
        """Whole milliseconds, rounded down."""
        return self.nanos // _NANOS_PER_MILLI


@dataclass(frozen=True, slots=True, order=True)
class Time:
    """A length of time in milliseconds, as windows and async waits take it.

    >>> Time.seconds(2).to_milliseconds()
    2000
    """

    _milliseconds: int

    @staticmethod
    def milliseconds(milliseconds: int) -> Time:
        return Time(milliseconds)

    @staticmethod
    def seconds(seconds: int) -> Time:
        return Time(seconds * 1000)

    @staticmethod
    def minutes(minutes: int) -> Time:
        return Time.seconds(minutes * 60)

    @staticmethod
    def hours(hours: int) -> Time:
        return Time.minutes(hours * 60)

    @staticmethod
    def days(days: int) -> Time:
        return Time.hours(days * 24)

    def to_milliseconds(self) -> int:
        return self._milliseconds
