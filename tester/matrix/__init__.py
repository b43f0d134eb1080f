"""The kill matrix: which graded tests catch which planted mistakes, under how many seeds, and how soon.

    tests/mutants --plant--> worker processes: tests × seeds --a line a run--> .raftlab/mutants/runs.jsonl
                                                                                 |
                                              table, JSON, docs/mutants.md <-----+

A mistake counts as caught if a test of its own part fails under one of the seeds. What was run is kept, by what it was
run on, so that a campaign that was stopped goes on where it was.
"""
