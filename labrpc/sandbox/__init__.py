"""Where the code of a graded submission runs: hosts in child processes that reach nothing but their judge's socket.

    judge --bubblewrap--> nursery: a read-only view of Python and labrpc, no network, no environment, ids of its own
                            └─clone─> child: namespaces of its own, then limits, no capabilities, few system calls
                                        └─> only now the submission's code

    view.py          what the nursery sees, as bubblewrap is told it
    namespaces.py    a child in namespaces of its own, and the mounts in them
    seccomp.py       the system calls that are left to it
    confinement.py   all that a child gives up, in order, before the submission's code runs
    deeds.py         the sentence for who tries nevertheless

What a child says over its socket is a claim, see `labrpc.virtual.claims`. docs/sandbox.md lists threats and answers.
"""
