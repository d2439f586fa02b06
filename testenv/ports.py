"""Free ports of loopback, for processes that must know each other's addresses before they start.

They lie below the range from which the system takes ports by itself (from 32,768 on Linux), so that no connection and
no listener of port 0 takes one before its process listens, or while it is being started again; none is given twice.
"""
import random, socket

_given = set()


def free_ports(count):
    ports = []
    for port in random.sample(range(10_240, 32_768), 32_768 - 10_240):
        if len(ports) == count: return ports
        if port in _given: continue
        _given.add(port)
        with socket.socket() as probe:
            try: probe.bind(("127.0.0.1", port))
            except OSError: continue
        ports.append(port)
    raise SystemExit(f"no {count} free ports between 10240 and 32767")


def free_port(): return free_ports(1)[0]
