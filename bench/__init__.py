"""Benchmarks that compare certctl with what somebody would run instead of it."""
