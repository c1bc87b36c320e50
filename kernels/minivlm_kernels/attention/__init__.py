"""The attention ladder, A1 to A8: from one thread a row to tensor cores, one idea a file."""
