"""The course: exercises that run inside the real library, and name a student's mistake."""
