"""Tests with real processes, from the outside."""
