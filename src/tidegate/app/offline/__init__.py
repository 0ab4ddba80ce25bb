"""Worlds from manifests alone, and what is wrong with them: compile and validate."""
