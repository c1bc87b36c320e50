"""Pictures and words: generated scenes, real files, batches."""
