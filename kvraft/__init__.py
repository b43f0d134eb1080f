"""The fault-tolerant key/value store on Raft (parts 3A to 4B): not built yet."""
