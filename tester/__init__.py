"""The judge: clusters to test on, invariants, timelines, and the pytest plugin that ties them to a seed.

    pytest --seed--> plugin.py --> run.py --> cluster.py --> labrpc.virtual (hosts with the code under test)
                                                 |
                          journal --> invariants.py, applied.py, timeline/, report.py

It never imports the code under test: that runs on hosts, and what is said of it is read from the journal.
"""
