"""Benches, run by hand; the tests check that they work, never how fast."""
