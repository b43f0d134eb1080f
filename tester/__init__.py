"""The judge: clusters to test on, invariants, timelines, and the pytest plugin that ties them to a seed.

    pytest --seed--> plugin.py --> run.py --> cluster.py --> labrpc.virtual (hosts with the code under test)
                                                 |
                          journal --> invariants.py, timeline/, report.py
"""
