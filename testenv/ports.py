"""Free ports of loopback, for processes that must know each other's addresses before they start.

Each is kept, as the stories' FreePorts keeps them, by a socket that is bound to it and never listens until this process
ends: whoever looks for a free port is refused it, also while the process that was told of it has not begun to listen; a
server, which sets SO_REUSEADDR, may listen there again and again. They lie below the range from which the system takes
ports by itself (from 32,768 on Linux).
"""
import random, socket

_kept = []


def free_ports(count):
    ports = []
    for port in random.sample(range(10_240, 32_768), 32_768 - 10_240):
        if len(ports) == count: return ports
        kept = socket.socket()
        try: kept.bind(("127.0.0.1", port))
        except OSError:
            kept.close()
            continue
        # Only now: a bind with it set would succeed where another keeps the port.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _kept.append(kept)
        ports.append(port)
    raise SystemExit(f"no {count} free ports between 10240 and 32767")


def free_port(): return free_ports(1)[0]
