"""Injected faults: what goes wrong with a day's delivery, by name, day and strength, in any source."""
