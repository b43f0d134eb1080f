"""The real worlds: real time, real threads, and with `--servers processes` real disks and crashes by SIGKILL."""
