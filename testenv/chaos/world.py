"""The fleet of a chaos run: hosts as network namespaces on one bridge, and real processes in them."""
import collections, ctypes, json, os, shutil, signal, subprocess, threading, time, urllib.request

REGIONS = ("us", "eu", "asia")
NETWORK = "10.77.0."
HARNESS = NETWORK + "1"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def sh(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode: raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Host:
    """A network namespace with an address on the bridge, and a disk of its own: a tmpfs that can be filled up."""

    def __init__(self, world, name, number, megabytes):
        self.name, self.ip, self.region = name, f"{NETWORK}{number}", None
        self.folder = f"{world.folder}/{name}"
        os.mkdir(self.folder)
        sh("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", self.folder)
        sh("ip", "netns", "add", name)
        link = f"v{number}"
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        sh("ip", "link", "set", link, "master", "chaos", "up")
        for words in (f"addr add {self.ip}/24 dev eth0", "link set eth0 up", "link set lo up"):
            sh("ip", "-n", name, *words.split())
        # Packets from the addresses in the set are dropped: of one direction only.
        self.nft("add table ip chaos; add set ip chaos cut { type ipv4_addr; }; "
                 "add chain ip chaos in { type filter hook input priority 0; }; "
                 "add rule ip chaos in ip saddr @cut drop")

    def nft(self, script): sh("ip", "netns", "exec", self.name, "nft", script)

    def fill(self):
        """Fills the disk to the last byte."""
        with open(f"{self.folder}/ballast", "wb", buffering=0) as file:
            block = bytes(1 << 20)
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[:len(block) // 2]

    def empty(self):
        try:
            os.remove(f"{self.folder}/ballast")
        except FileNotFoundError:
            pass


class Process:
    """A program on a host. What ends by itself is started again, as a supervisor would, and remembered."""

    def __init__(self, world, role, name, host, command, ready=None, environment=None):
        self.world, self.role, self.name, self.host = world, role, name, host
        self.command, self.ready, self.environment = command, ready, environment or {}
        self.lives, self.popen, self.wanted = 0, None, False
        self.busy = threading.Lock()  # held by the fault that has it
        self.lock = threading.Lock()
        self.endings = []

    @property
    def log(self): return f"{self.world.folder}/logs/{self.name}.{self.lives}.log"

    def logs(self): return [f"{self.world.folder}/logs/{self.name}.{life}.log" for life in range(1, self.lives + 1)]

    def start(self):
        with self.lock:
            if self.popen and self.popen.poll() is None: return
            self.lives += 1
            self.wanted = True
            # Each life has a monotonic clock that begins elsewhere: nobody may compare it with another's.
            offset = self.world.clock_offset(self.name, self.lives)
            command = ["ip", "netns", "exec", self.host.name, *self.world.skewed(offset), *self.command]
            with open(self.log, "wb") as log:
                self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              env={**os.environ, **self.environment})
        self.world.note("start", process=self.name, life=self.lives)

    def send(self, number):
        with self.lock:
            if self.popen and self.popen.poll() is None: self.popen.send_signal(number)

    def end(self, number=signal.SIGKILL):
        """Ends it and waits for that; the supervisor leaves it alone until it is started again."""
        with self.lock:
            self.wanted = False
            if not self.popen or self.popen.poll() is not None: return
            self.popen.send_signal(number)
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.world.note("end", process=self.name, signal=number)

    @property
    def pid(self): return self.popen.pid if self.popen and self.popen.poll() is None else None

    def is_ready(self):
        if self.pid is None: return False
        if not self.ready: return True
        try:
            with urllib.request.urlopen(self.ready, timeout=2) as answer: return answer.status == 200
        except OSError:
            return False

    def await_ready(self, patience=120):
        return until(self.is_ready, patience, 0.1)

    def supervise(self):
        """Starts it again when it has ended by itself."""
        with self.lock:
            ended = self.wanted and self.popen and self.popen.poll() is not None
            code = self.popen.returncode if ended else None
        if not ended: return
        self.endings.append(code)
        self.world.note("ended by itself", process=self.name, code=code)
        self.start()


def until(condition, patience, pause=0.2):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if value := condition(): return value
        time.sleep(pause)
    return condition()


class World:
    def __init__(self, isobar, folder, seed):
        self.isobar, self.folder, self.seed = isobar, folder, seed
        self.began = time.time()
        os.makedirs(f"{folder}/logs")
        self.notes, self.notes_lock = open(f"{folder}/events.jsonl", "w", buffering=1), threading.Lock()
        self.cuts, self.cuts_lock = collections.Counter(), threading.Lock()
        self.hosts, self.processes, self.stopping = {}, {}, False
        # What went wrong in this program itself, in any of its threads.
        self.faults = []
        threading.excepthook = lambda thrown: self.faults.append(repr(thrown.exc_value))
        self.can_skew = self.has_time_namespaces()
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "chaos", "type", "bridge")
        sh("ip", "addr", "add", f"{HARNESS}/24", "dev", "chaos")
        sh("ip", "link", "set", "chaos", "up")
        self.make_certificates()
        self.make_fleet()

    def note(self, what, **fields):
        with self.notes_lock:
            self.notes.write(json.dumps({"at": time.time(), "event": what, **fields}) + "\n")

    # Clocks

    @staticmethod
    def has_time_namespaces():
        probe = ["unshare", "-T", "--monotonic", "1000000", "--boottime", "1000000", "cat", "/proc/uptime"]
        done = subprocess.run(probe, capture_output=True, text=True)
        return done.returncode == 0 and float(done.stdout.split()[0]) > 1e6

    def skewed(self, seconds):
        if not self.can_skew: return []
        return ["unshare", "-T", "--monotonic", str(seconds), "--boottime", str(seconds)]

    def clock_offset(self, name, life):
        # The same in a replay, and different for each process and life; FNV-1a.
        value = 0xCBF29CE484222325
        for byte in f"{self.seed}/{name}/{life}".encode(): value = (value ^ byte) * 0x100000001B3 & (1 << 64) - 1
        return value % 10_000_000

    # The fleet

    def make_certificates(self):
        pki = self.pki = f"{self.folder}/pki"
        run = lambda *words: sh(self.isobar, "pki", *words, "--pki", pki)
        run("init", "--fleet", "chaos")
        for place in range(3): run("issue", "hub", f"hub-{place}")
        for region in REGIONS:
            run("issue", "gateway", region)
            for letter in "ab": run("issue", "agent", f"{region}-{letter}")
        run("issue", "operator", "chaos")

    def tls(self, name):
        return (f"{{certificate: {self.pki}/{name}.crt, key: {self.pki}/{name}.key, authority: {self.pki}/ca.crt}}")

    def host(self, name, number, megabytes=64, region=None):
        host = self.hosts[name] = Host(self, name, number, megabytes)
        host.region = region
        return host

    def add(self, role, name, host, command, **options):
        self.processes[name] = Process(self, role, name, host, command, **options)

    def program(self, role, name, host, yaml):
        path = f"{self.folder}/{name}.yaml"
        with open(path, "w") as file: file.write(yaml)
        environment = {}
        if os.path.exists(FAKETIME):
            clock = f"{self.folder}/{name}.clock"
            self.set_wall_clock(name, 0)
            environment = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_CACHE_DURATION": "1",
                           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        admin = f"http://{host.ip}:7001"
        self.add(role, name, host, [self.isobar, role, "--config", path, "--log-format", "json", "--log-level", "debug"],
                 ready=f"{admin}/readyz", environment=environment)

    def set_wall_clock(self, name, seconds):
        with open(f"{self.folder}/{name}.clock.new", "w") as file: file.write(f"{seconds:+d}s\n")
        os.rename(f"{self.folder}/{name}.clock.new", f"{self.folder}/{name}.clock")

    def make_fleet(self):
        members = [self.host(f"etcd-{place}", 11 + place, 700) for place in range(3)]
        hubs = [self.host(f"hub-{place}", 21 + place) for place in range(3)]
        clusters = [(f"{region}-{letter}", region) for region in REGIONS for letter in "ab"]
        sites = {name: self.host(f"site-{name}", 31 + place, region=region)
                 for place, (name, region) in enumerate(clusters)}
        gateways = [(f"{region}-gw-{place}", region) for region in REGIONS for place in range(2)]
        doors = {name: self.host(name, 41 + place, region=region) for place, (name, region) in enumerate(gateways)}

        peers = ",".join(f"{host.name}=http://{host.ip}:2380" for host in members)
        for host in members:
            client, peer = f"http://{host.ip}:2379", f"http://{host.ip}:2380"
            self.add("etcd", host.name, host, [
                "etcd", "--name", host.name, "--data-dir", f"{host.folder}/data", "--log-level", "warn",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", peers,
                "--listen-metrics-urls", f"http://{host.ip}:2381",
                "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1m",
                # Often, so that a member that was away is brought back by a snapshot, and a full disk is met.
                "--snapshot-count", "60",
            ], ready=f"http://{host.ip}:2381/health")
        etcd = ", ".join(f'"{host.ip}:2379"' for host in members)
        for host in hubs:
            self.program("hub", host.name, host, f"""
replica: {host.name}
listen: "{host.ip}:7000"
admin: "{host.ip}:7001"
tls: {self.tls("hub-" + host.name)}
store: etcd
etcd: [{etcd}]
lease: 2
""")
        hub = ", ".join(f'"{host.ip}:7000"' for host in hubs)
        for cluster, host in sites.items():
            self.add("engine", f"engine-{cluster}", host, [
                self.isobar, "engine", "--host", host.ip, "--port", "8000", "--model", "llama", "--time-scale", "0.5",
                "--request-log", f"{self.folder}/logs/engine-{cluster}.requests", "--log-level", "warning",
            ], ready=f"http://{host.ip}:8000/health")
            self.program("agent", f"agent-{cluster}", host, f"""
cluster: {cluster}
region: {host.region}
agent: {cluster}-0
listen: "{host.ip}:7000"
admin: "{host.ip}:7001"
tls: {self.tls("agent-" + cluster)}
hub: [{hub}]
scrapeInterval: 0.5
pools:
  - {{name: llama, engine: vllm, endpoints: ["{host.ip}:8000"]}}
""")
        for name, host in doors.items():
            agents = ", ".join(f'"{sites[cluster].ip}:7000"' for cluster, region in clusters if region == host.region)
            others = "\n".join(f'  - {{region: {other.region}, address: "{other.ip}:8090"}}'
                               for other in doors.values() if other.region != host.region)
            self.program("gateway", name, host, f"""
gateway: {name}
region: {host.region}
listen: "{host.ip}:8080"
listenPeers: "{host.ip}:8090"
admin: "{host.ip}:7001"
tls: {self.tls("gateway-" + host.region)}
hub: [{hub}]
agents: [{agents}]
peers:
{others}
planFile: {host.folder}/plan
accessLog: {host.folder}/access.jsonl
pools:
  - {{name: llama}}
""")

    def of(self, *roles): return [process for process in self.processes.values() if process.role in roles]

    def supervise(self):
        while not self.stopping:
            for process in list(self.processes.values()):
                if not self.stopping: process.supervise()
            time.sleep(1)

    # Cuts

    def cut(self, pairs, sign=1):
        """Drops packets from one host to another, or (sign -1) no longer; pairs of (from, to)."""
        changed = collections.defaultdict(list)
        with self.cuts_lock:
            for source, target in pairs:
                before = self.cuts[source, target]
                self.cuts[source, target] += sign
                if (before > 0) != (before + sign > 0): changed[target].append(self.hosts[source].ip)
            for target, addresses in changed.items():
                verb = "add" if sign > 0 else "delete"
                self.hosts[target].nft(f"{verb} element ip chaos cut {{ {', '.join(addresses)} }}")

    # Looking

    def ask(self, process, path="/v1/status"):
        try:
            with urllib.request.urlopen(f"http://{process.host.ip}:7001{path}", timeout=3) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def leader(self):
        """The hub that leads by its own word."""
        for process in self.of("hub"):
            if process.pid and (status := self.ask(process)) and status["is_leading"]: return process
        return None

    def etcd_leader(self):
        for process in self.of("etcd"):
            try:
                with urllib.request.urlopen(f"http://{process.host.ip}:2381/metrics", timeout=2) as answer:
                    if b"\netcd_server_is_leader 1" in answer.read(): return process
            except OSError:
                continue
        return None

    def settled(self):
        """One leader that all replicas know, and every gateway with a plan of its epoch; its epoch, or None."""
        hubs = [self.ask(process) for process in self.of("hub")]
        if not all(hubs) or sum(status["is_leading"] for status in hubs) != 1: return None
        leaders = {json.dumps(status.get("leader"), sort_keys=True) for status in hubs}
        if len(leaders) != 1 or not all(status.get("plan") for status in hubs): return None
        epoch = hubs[0]["leader"]["epoch"]
        if any(status["plan"]["epoch"] != epoch for status in hubs): return None
        for process in self.of("gateway"):
            status = self.ask(process)
            if not status or (status.get("plan") or {}).get("epoch") != epoch: return None
        return epoch

    def stop(self):
        self.stopping = True
        for process in self.processes.values():
            process.send(signal.SIGCONT)
        for role in ("gateway", "agent", "engine", "hub", "etcd"):
            threads = [threading.Thread(target=process.end, args=(signal.SIGTERM,)) for process in self.of(role)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
