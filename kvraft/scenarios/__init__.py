"""`kvraft scenario`: a cluster of real processes, real faults, and a verdict.

    plan (from a seed) ──> faults ──> proxies in all links, nodes' processes, disks, clocks
    clients (kvraft.load) ──operations──> nodes
            └──> history.jsonl ──> linearizable?    nothing lost?    answered again in time?

    plans.py      the scenarios, and what is drawn from a seed
    faults.py     what can be done to a cluster, and undone
    proxy.py, network.py    links between nodes, and to them
    node.py, clock.py, disk.py    a node in bad surroundings; nodes.py: all of them
    probes.py     gets put to each node, whether it leads or not
    recording.py, verdict.py, outcome.py    what clients saw, and what follows from it
    driver.py     a run
    display.py, report.py, page/, commands.py    what people see

It is for testing, and a tool of whoever runs the service: nothing in kvraft.service knows of it.
"""
