# What is left to a child by system calls of its own, where nothing in Python names or stops it first. Its arguments are
# the folder of labrpc, and why there is no view.
import ctypes
import json
import os
import resource
import sys
import time

ROOT, VIEW = sys.argv[1:]
sys.path.append(ROOT)
from labrpc.sandbox.confinement import Confinement  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)
confinement = Confinement(VIEW)
LIMITS = ("AS", "FSIZE", "CORE", "NPROC")
reading, writing = os.pipe()
sibling = confinement.fork()
if sibling == 0:
    os.close(reading)
    confinement.enter(keep=writing)
    while True:
        time.sleep(1)
pid = confinement.fork()
if pid == 0:
    confinement.enter(keep=writing)

    def outcome(name, *arguments):
        return ctypes.get_errno() if libc[name](*arguments) == -1 else 0

    def attempt(action):
        try:
            action()
        except OSError as error:
            return error.errno
        except ValueError:  # of the resource module
            return 1
        return 0

    number = {"x86_64": 0, "aarch64": 1}[os.uname().machine]

    def system_call(x86, arm, *arguments):
        return outcome("syscall", ctypes.c_long((x86, arm)[number]), *arguments)

    facts = {
        "temporary": attempt(lambda: os.close(os.open("/tmp/mine", os.O_CREAT | os.O_WRONLY))),
        "processes": os.listdir("/proc"),
        "ids": [os.getuid(), os.getgid(), os.getpid(), os.getppid()],
        "limits": [resource.getrlimit(getattr(resource, f"RLIMIT_{limit}"))[1] for limit in LIMITS],
    }
    result = {
        "fork": outcome("fork"),
        "vfork-like clone": system_call(56, 220, 17, 0, 0, 0, 0),
        "clone3": system_call(435, 435, None, 0),
        "execve": outcome("execve", b"/bin/sh", None, None),
        "socket": outcome("socket", 2, 1, 0),
        "unix socket": outcome("socket", 1, 1, 0),
        "socketpair": outcome("socketpair", 1, 1, 0, (ctypes.c_int * 2)()),
        "kill": outcome("kill", -1, 9),
        "kill its group": outcome("kill", 0, 9),
        "kill a sibling": outcome("kill", 2, 9),
        "ptrace": outcome("ptrace", 16, 1, 0, 0),
        "mount": outcome("mount", b"x", b"/tmp", b"tmpfs", 0, None),
        "umount": outcome("umount2", b"/proc", 2),
        "unshare": outcome("unshare", 0x10000000),
        "setns": outcome("setns", 0, 0),
        "bpf": system_call(321, 280, 0, None, 0),
        "perf_event_open": system_call(298, 241, None, 0, 0, 0, 0),
        "keyctl": system_call(250, 219, 0, 0),
        "io_uring_setup": system_call(425, 425, 1, None),
        "process_vm_readv": system_call(310, 270, 1, None, 0, None, 0, 0),
        "memfd_create": system_call(319, 279, b"x", 0),
        "shmget": outcome("shmget", 1, 4096, 0o1666),
        "msgget": outcome("msgget", 1, 0o1666),
        "userfaultfd": system_call(323, 282, 0),
        "setuid": outcome("setuid", 0),
        "chroot": outcome("chroot", b"/tmp"),
        "inotify": outcome("inotify_init1", 0),
        "pidfd_open": system_call(434, 434, 1, 0),
        "setpriority": outcome("setpriority", 0, 0, -20),
        "sethostname": outcome("sethostname", b"x", 1),
        "sendmsg": outcome("sendmsg", writing, None, 0),
        "personality": outcome("personality", 0),
        "write outside": attempt(lambda: os.open("/evil", os.O_CREAT | os.O_WRONLY)),
        "write below labrpc": attempt(lambda: os.open(ROOT + "/evil", os.O_CREAT | os.O_WRONLY)),
        "raise a limit": attempt(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))),
        "open 100 files": attempt(lambda: [os.open("/dev/null", 0) for _ in range(100)]),
    }
    os.write(writing, json.dumps([result, facts]).encode())
    os._exit(0)
os.close(writing)
os.waitpid(pid, 0)
os.write(1, os.read(reading, 1 << 16))
os.kill(sibling, 9)
os.waitpid(sibling, 0)
