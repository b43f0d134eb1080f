"""Grading a class: many submissions, many seeds, one command, and results that can be defended.

    submissions --intake--> Submission --course.toml--> Jobs --pool or Dask--> Outcomes --> SQLite --> results

A job is one graded test under one seed on one submission, whose servers and clerks run in sandboxed processes on the
virtual clock: the same run on every machine. What is known is kept as it comes, so a grading that was killed goes on.
"""
