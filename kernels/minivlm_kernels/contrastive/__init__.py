"""The contrastive ladder, C1 to C5: the N×N loss, first with the matrix and then without it."""
