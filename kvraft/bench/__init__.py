"""`kvraft bench`: puts a load on a cluster, and says what came of it.

    command.py   the command line
    machine.py   what the figures depend on: cores, kernel, how long an fsync takes
    report.py    the table at the end, the progress before it, and the comparison of two results

What makes the load is `kvraft.load`.
"""
