"""Modules: they own parameters and call ops."""
