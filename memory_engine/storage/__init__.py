"""The memory's SQL, the only truth: everything else is derived from it."""
