"""What runs on a host around the code under test. Only modules here may import it; see `labrpc.program`."""
