"""Thirty exercises: for each, what it says (`.toml`) and what is computed with it (`.py`)."""
