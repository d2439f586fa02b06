"""A fleet of real processes for the proofs of robustness: of each region engines, an agent and a gateway; one hub.

Every process ends with the script that started it (`--exit-with-parent`), is killed by its own id and by nothing else,
and writes its log into the fleet's folder.
"""
import json, os, re, signal, subprocess, sys, tempfile, time, urllib.error, urllib.request
from ports import free_ports

MODEL = "llama"


def fetch(url, timeout=10):
    """Status and text of a page; (0, why) when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer: return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def eventually(what, holds, patience=60):
    """Waits for a condition, never for a while; ends the script when it does not come true."""
    end = time.monotonic() + patience
    while True:
        value = holds()
        if value: return value
        if time.monotonic() > end: sys.exit(f"{os.path.basename(sys.argv[0])}: never happened in {patience} s: {what}")
        time.sleep(0.05)


class Part:
    """A process: started, killed and started again under the same name and ports."""

    def __init__(self, name, command, log, env=None, limit=None):
        self.name, self.command, self.log, self.env, self.limit, self.process = name, command, log, env, limit, None

    def start(self):
        def before():
            import resource
            if self.limit: resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit, self.limit))
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **(self.env or {})},
                preexec_fn=before if self.limit else None)
        return self

    @property
    def is_running(self): return self.process is not None and self.process.poll() is None

    def kill(self, how=signal.SIGKILL, patience=15):
        """Seconds that it took to end."""
        begun = time.monotonic()
        if self.is_running:
            self.process.send_signal(how)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return time.monotonic() - begun

    def _status(self, field):
        try:
            with open(f"/proc/{self.process.pid}/status") as file: found = re.search(rf"^{field}:\s+(\d+)", file.read(), re.M)
            return int(found[1]) if found else None
        except OSError:
            return None

    @property
    def rss(self):
        """Resident memory, in MiB."""
        value = self._status("VmRSS")
        return None if value is None else value / 1024

    @property
    def peak(self):
        """The most that it ever had, in MiB."""
        value = self._status("VmHWM")
        return None if value is None else value / 1024

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file: file.write("5")

    @property
    def fds(self):
        try: return len(os.listdir(f"/proc/{self.process.pid}/fd"))
        except OSError: return None

    @property
    def seconds(self):
        """Processor seconds so far."""
        with open(f"/proc/{self.process.pid}/stat") as file: fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """Regions that know each other, in a folder of their own.

    `engine` are the options of every engine; `pools` are extra pools of the gateways, each (name, path, [addresses]),
    read by the same agents; `gateway` are lines added to the gateways' files.
    """

    def __init__(self, isobar, regions=("east", "west"), engines=2, engine=(), pools=(), gateway="", gateway_limit=None):
        self.isobar = os.path.abspath(isobar)
        if not os.access(self.isobar, os.X_OK): sys.exit(f"{sys.argv[0]}: {isobar} is not a program; build it first")
        self.folder = tempfile.mkdtemp(prefix="isobar-robustness-")
        self.regions = list(regions)
        ports = iter(free_ports(2 + len(self.regions) * (4 + engines)))
        self.parts, self.gateways, self.admins, self.agent_admins, self.engines = {}, {}, {}, {}, {}
        hub, self.hub_admin = next(ports), next(ports)
        agents = {}
        for region in self.regions:
            self.gateways[region], self.admins[region], agents[region], self.agent_admins[region] = (next(ports) for _ in range(4))
            self.engines[region] = {f"engine-{region}-{number}": next(ports) for number in range(engines)}
        self.program("hub", "hub", f"listen: 127.0.0.1:{hub}\nadmin: 127.0.0.1:{self.hub_admin}\nstate: {self.folder}/hub.sqlite\n")
        for region in self.regions:
            for name, port in self.engines[region].items():
                self.part(name, ["engine", "--port", str(port), "--model", MODEL, "--request-log", f"{self.folder}/{name}.requests", *engine])
            addresses = ", ".join(f"'127.0.0.1:{port}'" for port in self.engines[region].values())
            listed = f"  - {{name: {MODEL}, endpoints: [{addresses}]}}\n" + "".join(
                f"  - {{name: {name}, endpoints: [{', '.join(repr(one) for one in ends)}]}}\n" for name, _, ends in pools)
            self.program(f"agent-{region}", "agent", (
                f"cluster: {region}-a\nregion: {region}\nagent: {region}-a-0\nlisten: 127.0.0.1:{agents[region]}\n"
                f"admin: 127.0.0.1:{self.agent_admins[region]}\nhub: ['127.0.0.1:{hub}']\npools:\n{listed}"))
            peers = "".join(
                f"  - {{region: {other}, address: '127.0.0.1:{self.gateways[other]}'}}\n" for other in self.regions if other != region)
            paths = "".join(f"  - {{name: {name}, path: {path}}}\n" for name, path, _ in pools)
            self.program(f"gateway-{region}", "gateway", (
                f"gateway: {region}-gw\nregion: {region}\nlisten: 127.0.0.1:{self.gateways[region]}\n"
                f"admin: 127.0.0.1:{self.admins[region]}\nhub: ['127.0.0.1:{hub}']\nagents: ['127.0.0.1:{agents[region]}']\n"
                + (f"peers:\n{peers}" if peers else "") + f"planFile: {self.folder}/gateway-{region}.plan\n"
                f"accessLog: {self.folder}/gateway-{region}.access\n{gateway}pools:\n  - {{name: {MODEL}, path: /}}\n{paths}"),
                limit=gateway_limit)

    def part(self, name, arguments, limit=None):
        self.parts[name] = Part(
            name, [self.isobar, *arguments, "--exit-with-parent", "--log-format", "json"], f"{self.folder}/{name}.log", limit=limit)

    def program(self, name, kind, text, limit=None):
        with open(f"{self.folder}/{name}.yaml", "w") as file: file.write(text)
        self.part(name, [kind, "--config", f"{self.folder}/{name}.yaml"], limit=limit)

    def __getitem__(self, name): return self.parts[name]

    def members(self, region):
        """The names of everything that stands in a region."""
        return [*self.engines[region], f"agent-{region}", f"gateway-{region}"]

    def start(self, *names):
        for name in names or self.parts: self.parts[name].start()

    def status(self, region):
        code, text = fetch(f"http://127.0.0.1:{self.admins[region]}/v1/status")
        return json.loads(text) if code == 200 else {}

    def settle(self, patience=90):
        """Until every gateway has a plan, sees all endpoints of its region, and reaches its peers."""
        def is_settled():
            for region in self.regions:
                status = self.status(region)
                pool = next((pool for pool in status.get("pools", []) if pool["pool"].endswith(f"/{MODEL}")), {})
                if not status.get("plan") or pool.get("endpoints_usable") != len(self.engines[region]): return False
                if not all(peer.get("reachable") for peer in status.get("peers", [])): return False
            return True
        eventually("every gateway has a plan, its endpoints and its peers", is_settled, patience)
        # The plan that knows every cluster, not one of the first.
        def is_whole():
            code, text = fetch(f"http://127.0.0.1:{self.hub_admin}/v1/status")
            pools = json.loads(text).get("pools", []) if code == 200 else []
            clusters = next((pool["clusters"] for pool in pools if pool["pool"].endswith(f"/{MODEL}")), [])
            return len(clusters) == len(self.regions) and all(cluster["state"] == "active" for cluster in clusters)
        eventually("the hub's plan has every cluster", is_whole, patience)

    def metric(self, region, name, labels=""):
        """The sum over all series of a family whose labels contain a text."""
        return page_sum(fetch(f"http://127.0.0.1:{self.admins[region]}/metrics")[1], name, labels)

    def engine_metric(self, name, port, labels=""):
        return page_sum(fetch(f"http://127.0.0.1:{port}/metrics")[1], "vllm:" + name, labels)

    def at_rest(self):
        """What is still in flight, by name: at the gateways and at the engines; empty when nothing is."""
        left = {}
        for region in self.regions:
            count = self.status(region).get("in_flight")
            if count != 0: left[f"gateway-{region}"] = count
            for name, port in self.engines[region].items():
                count = self.engine_metric("num_requests_running", port) + self.engine_metric("num_requests_waiting", port)
                if count != 0: left[name] = count
        return left

    def executions(self):
        """By request id: what the engines wrote down, as (event, engine, time), in order of time."""
        seen = {}
        for names in self.engines.values():
            for name in names:
                try: lines = open(f"{self.folder}/{name}.requests").read().split("\n")
                except FileNotFoundError: continue
                for line in lines:
                    # The last line of an engine that was killed may be cut.
                    try: entry = json.loads(line)
                    except ValueError: continue
                    seen.setdefault(entry["id"], []).append((entry["time"], entry["event"], name))
        return {id: sorted(events) for id, events in seen.items()}

    def stop(self):
        running = [part for part in self.parts.values() if part.is_running]
        for part in running: part.process.send_signal(signal.SIGTERM)
        for part in running: part.kill(signal.SIGTERM)


def page_sum(page, name, labels=""):
    total = 0.0
    for line in page.split("\n"):
        if line.startswith(name) and line[len(name):len(name) + 1] in "{ " and labels in line:
            total += float(line.rsplit(" ", 1)[1])
    return total
