"""Optimizers, schedules, the loop, and checkpoints that survive a kill."""
