"""What is broken, when and for how long: all of it follows from the seed."""
import random, shutil, signal, subprocess, threading, time

from world import FAKETIME, REGIONS

KINDS = (
    "kill", "kill engine", "kill engines of a region", "kill gateway", "kill hub leader", "kill etcd leader", "end", "end hub leader",
    "pause", "pause engine", "pause gateway", "pause hub leader", "pause etcd leader",
    "isolate", "cut hub from store", "cut one way", "split regions", "split the middle",
    "full disk", "slow disk", "clock step",
)
ROLES = ("hub", "etcd", "gateway", "agent", "engine")


class Fault:
    def __init__(self, number, kind, at, length, dice):
        self.number, self.kind, self.at, self.length = number, kind, at, length
        # Every choice is drawn now, whether it will be needed or not: what happens in the run does not shift the dice.
        self.role, self.order, self.amount = dice.choice(ROLES), [dice.random() for _ in range(64)], dice.random()

    def pick(self, candidates):
        """The candidates in the order that the seed gave them."""
        return [one for _, one in sorted(zip(self.order, candidates), key=lambda pair: pair[0])]


def schedule(seed, seconds, longest):
    """The faults of a run: decks of all kinds, shuffled, at random times, so that each kind comes even in a short one."""
    dice, faults, at, deck = random.Random(seed), [], 0.0, []
    while True:
        if not deck:
            deck = list(KINDS)
            dice.shuffle(deck)
        at += dice.uniform(1.0, 5.0)
        # Some last for longer than anybody waits for a silent peer.
        length = dice.uniform(1.0, longest) if dice.random() < 0.85 else dice.uniform(16.0, 22.0)
        if at + length > seconds: return faults
        faults.append(Fault(len(faults), deck.pop(), at, length, dice))


class Breaker:
    """Breaks things by the schedule and mends them again, and knows afterwards what was broken when."""

    def __init__(self, world):
        self.world = world
        self.down = []  # (process, from, until it was ready again): killed
        self.ended = []  # the same, told to end
        self.stopped = []  # (process, from, until)
        self.cuts = []  # (from host, to host, from, until)
        self.others = []  # (kind, process, from, until)
        self.counts = {}
        self.skipped = 0

    def run(self, faults):
        began, threads = time.monotonic(), []
        for fault in faults:
            time.sleep(max(0, began + fault.at - time.monotonic()))
            thread = threading.Thread(target=self.break_and_mend, args=(fault,))
            thread.start()
            threads.append(thread)
        for thread in threads: thread.join()

    def break_and_mend(self, fault):
        action, targets = self.plan(fault)
        if not targets:
            self.skipped += 1
            self.world.note("fault skipped", number=fault.number, kind=fault.kind)
            return
        names = [target if isinstance(target, str) else target.name for target in targets]
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        self.world.note("fault", number=fault.number, kind=fault.kind, targets=names, length=round(fault.length, 1))
        action(fault, targets)
        self.world.note("mended", number=fault.number, kind=fault.kind, targets=names)

    def plan(self, fault):
        world, kind = self.world, fault.kind
        if kind == "kill": return self.kill, self.free(fault, world.of(fault.role))
        if kind == "kill engines of a region":
            region = fault.pick(REGIONS)[0]
            engines = [process for process in world.of("engine") if process.host.region == region]
            taken = [process for process in engines if process.busy.acquire(blocking=False)]
            if len(taken) == len(engines): return self.kill, taken
            for process in taken: process.busy.release()
            return None, []
        if kind.endswith((" engine", " gateway")):
            verb, role = kind.split()
            return {"kill": self.kill, "pause": self.pause}[verb], self.free(fault, world.of(role))
        if kind == "end": return self.end, self.free(fault, world.of("hub", "gateway", "agent"))
        if kind == "pause": return self.pause, self.free(fault, world.of(fault.role))
        if kind == "full disk": return self.full_disk, self.free(fault, world.of("etcd", "gateway"))
        if kind == "slow disk": return self.slow_disk, self.free(fault, world.of("etcd", "gateway"))
        if kind == "clock step": return self.clock_step, self.free(fault, world.of("hub", "gateway", "agent"))
        if kind in ("isolate", "cut hub from store", "cut one way", "split regions", "split the middle"):
            return self.cut, [kind]
        leader = world.etcd_leader() if "etcd" in kind else world.leader()
        if not leader or not leader.busy.acquire(blocking=False): return None, []
        return {"kill": self.kill, "end": self.end, "pause": self.pause}[kind.split()[0]], [leader]

    def free(self, fault, candidates):
        """The first one that no other fault has."""
        for process in fault.pick(candidates):
            if process.busy.acquire(blocking=False): return [process]
        return []

    # Processes; whoever picked them has their locks

    def kill(self, fault, targets, number=signal.SIGKILL):
        try:
            began = time.time()
            for process in targets: process.end(number)
            time.sleep(fault.length * fault.amount)
            for process in targets: process.start()
            for process in targets: process.await_ready()
            known = self.down if number == signal.SIGKILL else self.ended
            known += [(process, began, time.time()) for process in targets]
        finally:
            for process in targets: process.busy.release()

    def end(self, fault, targets): self.kill(fault, targets, signal.SIGTERM)

    def pause(self, fault, targets):
        process, = targets
        try:
            began = time.time()
            process.send(signal.SIGSTOP)
            time.sleep(fault.length)
            process.send(signal.SIGCONT)
            self.stopped.append((process, began, time.time()))
        finally:
            process.busy.release()

    def full_disk(self, fault, targets):
        process, = targets
        try:
            began = time.time()
            process.host.fill()
            time.sleep(fault.length)
            process.host.empty()
            process.await_ready()
            self.others.append(("full disk", process, began, time.time()))
        finally:
            process.busy.release()

    def slow_disk(self, fault, targets):
        """Every sync takes longer, by a system call that is held up."""
        process, = targets
        try:
            pid, began = process.pid, time.time()
            if not pid: return
            delay = int(50_000 + fault.amount * 450_000)
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-e", "trace=fsync,fdatasync",
                 "-e", f"inject=fsync,fdatasync:delay_enter={delay}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(fault.length)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            self.others.append(("slow disk", process, began, time.time()))
        finally:
            process.busy.release()

    def clock_step(self, fault, targets):
        """The wall clock is wrong by up to an hour ahead, or four minutes behind, and then right again."""
        process, = targets
        try:
            began = time.time()
            self.world.set_wall_clock(process.name, int(-240 + fault.amount * 3840))
            time.sleep(fault.length)
            self.world.set_wall_clock(process.name, 0)
            self.others.append(("clock step", process, began, time.time()))
        finally:
            process.busy.release()

    # Links

    def cut(self, fault, targets):
        pairs = self.pairs(fault)
        began = time.time()
        self.world.cut(pairs)
        time.sleep(fault.length)
        self.world.cut(pairs, -1)
        ended = time.time()
        self.cuts += [(source, target, began, ended) for source, target in pairs]

    def pairs(self, fault):
        hosts = list(self.world.hosts)
        both = lambda some, others: [pair for a in some for b in others if a != b for pair in ((a, b), (b, a))]
        if fault.kind == "isolate":
            one = fault.pick(hosts)[0]
            return both([one], hosts)
        if fault.kind == "cut hub from store":
            return both([f"hub-{int(fault.amount * 3)}"], [name for name in hosts if name.startswith("etcd")])
        if fault.kind == "cut one way":
            source, target = fault.pick(hosts)[:2]
            return [(source, target)]
        if fault.kind == "split regions":
            region = fault.pick(REGIONS)[0]
            inside = [name for name, host in self.world.hosts.items() if host.region == region]
            return both(inside, [name for name in hosts if name not in inside])
        # A random half of hubs and store, each in its own; agents and gateways see all of them.
        middle = [name for name in hosts if name.startswith(("hub", "etcd"))]
        half = fault.pick(middle)[:3]
        return both(half, [name for name in middle if name not in half])


def missing_tools():
    tools = {"ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "strace": "strace",
             "openssl": "openssl", "etcd": "etcd-server"}
    import os
    missing = [package for tool, package in tools.items() if not shutil.which(tool)]
    return missing + ([] if os.path.exists(FAKETIME) else ["libfaketime"])
