"""What a model has learnt, measured."""
