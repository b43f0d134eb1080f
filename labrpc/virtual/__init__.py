"""Virtual time: hosts that are deterministic machines, and the coordinator that drives them.

    Coordinator (event queue, network, disks, journal)
        | step(now, limit, inbox) -> effects, clock, wake
    Host (green threads, own modules, own clock) -- in this process, or one child process each

The run is a function of the seed, the test and the code under test, wherever its hosts are.
"""
