"""Those who use the fleet: clients of gateways, and operators who change resources. What they see goes into files."""
import concurrent.futures, http.client, itertools, json, os, random, socket, subprocess, threading, time

HEADERS = ("x-isobar-cluster", "x-isobar-endpoint", "x-isobar-reason", "x-isobar-plan")


class Recorder:
    def __init__(self, path):
        self.file, self.lock, self.lines = open(path, "w", buffering=1), threading.Lock(), []

    def add(self, line):
        with self.lock:
            self.lines.append(line)
            self.file.write(json.dumps(line) + "\n")


class Load:
    """Requests at random times to random gateways. One that got no answer is sent to another gateway, as a client with
    several addresses does; each sending has a name of its own."""

    patience = 240

    def __init__(self, world, seed, rate):
        self.world, self.rate, self.dice = world, rate, random.Random(seed ^ 0xC11E)
        self.attempts = Recorder(f"{world.folder}/attempts.jsonl")
        self.gateways = world.of("gateway")
        self.stopping, self.sent, self.unanswered = threading.Event(), 0, []

    def start(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(256)
        self.thread = threading.Thread(target=self.pace)
        self.thread.start()

    def pace(self):
        due = time.monotonic()
        while not self.stopping.is_set():
            due += self.dice.expovariate(self.rate)
            self.stopping.wait(max(0, due - time.monotonic()))
            self.sent += 1
            order = self.dice.sample(self.gateways, len(self.gateways))
            body = {"model": "llama", "prompt": "word " * self.dice.randint(4, 400),
                    "max_tokens": self.dice.randint(2, 160), "stream": self.dice.random() < 0.5}
            self.pool.submit(self.request, self.sent, order, body).add_done_callback(self.done)

    def done(self, future):
        if fault := future.exception(): self.world.faults.append(repr(fault))

    def stop(self):
        """No new requests; waits for those under way."""
        self.stopping.set()
        self.thread.join()
        self.pool.shutdown()

    def request(self, number, order, body):
        end = time.monotonic() + self.patience
        for attempt, gateway in enumerate(itertools.cycle(order)):
            line = self.attempt(f"{number}.{attempt}", gateway, body)
            self.attempts.add(line)
            if line["outcome"] not in ("refused connection", "no answer"): return
            if time.monotonic() > end:
                self.unanswered.append(number)
                return
            # All gateways have been asked: they are given a moment.
            if attempt % len(order) == len(order) - 1: time.sleep(0.5)

    def attempt(self, name, gateway, body):
        line = {"request": name, "gateway": gateway.name, "stream": body["stream"], "began": time.time()}
        connection = http.client.HTTPConnection(gateway.host.ip, 8080, timeout=self.patience)
        try:
            try:
                connection.connect()
            except OSError as error:
                return {**line, "ended": time.time(), "outcome": "refused connection", "reason": str(error)}
            try:
                connection.request("POST", "/v1/completions", json.dumps(body), {
                    "content-type": "application/json", "x-request-id": name, "x-isobar-explain": "1"})
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                return {**line, "ended": time.time(), "outcome": "no answer", "reason": repr(error)}
            line["answered"], line["status"] = time.time(), answer.status
            line.update({name[9:]: answer.getheader(name) for name in HEADERS if answer.getheader(name)})
            try:
                text = answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                return {**line, "ended": time.time(), "outcome": "cut", "reason": repr(error)}
            line["ended"] = time.time()
            if answer.status != 200:
                return {**line, "outcome": "refusal", "reason": text[:300]}
            ids = {part.split('"', 1)[0] for part in text.split('"id":"')[1:]}
            isComplete = text.endswith("data: [DONE]\n\n") if body["stream"] else text.endswith("}")
            return {**line, "outcome": "answered" if isComplete else "cut", "executions": sorted(ids)}
        finally:
            connection.close()


class Operators:
    """Writers and readers of resources, each a person at a terminal: one command after the other, at any hub.

    The resources are drains of clusters that do not exist, so that they disturb nothing; what is written is a reason
    that nobody else writes.
    """

    round_length, keys = 20, 4

    def __init__(self, world, seed, writers=4, readers=1):
        self.world, self.seed = world, seed
        self.history = Recorder(f"{world.folder}/resources.jsonl")
        self.stopping, self.began = threading.Event(), time.monotonic()
        self.values, self.unexpected = itertools.count(1), []
        self.known = set()
        work = [(self.write, place) for place in range(writers)] + [(self.read, place) for place in range(readers)]
        self.threads = [threading.Thread(target=self.run, args=item) for item in work]

    def start(self):
        for thread in self.threads: thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads: thread.join()

    def run(self, action, place):
        client = f"{action.__name__}-{place}"
        dice = random.Random(f"{self.seed}/{client}")
        while not self.stopping.is_set():
            action(client, dice)
            self.stopping.wait(dice.uniform(0.05, 0.3))

    def key(self, dice):
        """Keys last for a while only: what nobody knows of one key does not pile up."""
        name = f"chaos-{int((time.monotonic() - self.began) / self.round_length)}-{dice.randrange(self.keys)}"
        self.known.add(name)
        return name

    def command(self, hub, words, text=None):
        """Exit code, standard output and standard error of a command."""
        environment = {**os.environ, "ISOBAR_CERTIFICATE": f"{self.world.pki}/operator-chaos.crt"}
        try:
            done = subprocess.run([self.world.isobar, *words, "--hub", f"{hub.host.ip}:7000"], input=text, text=True,
                                  capture_output=True, timeout=60, env=environment)
            return done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            return None, "", "the command itself did not end within 60 s"

    def outcome(self, line, code, errors):
        """The outcome of a command that did not end with 0: what is not known to have done nothing is unknown."""
        line["reason"] = errors.strip()[-300:]
        if "no hub listens at" in errors: return {**line, "outcome": "failed"}
        if code != 69 and code is not None: self.unexpected.append((code, errors))
        return {**line, "outcome": "unknown"}

    def write(self, client, dice):
        hub, key, value = dice.choice(self.world.of("hub")), self.key(dice), f"value-{next(self.values)}"
        manifest = {"apiVersion": "isobar.dev/v1alpha1", "kind": "Drain", "metadata": {"name": key},
                    "spec": {"cluster": f"no-{key}", "reason": value}}
        chance = dice.random()
        if chance < 0.15: return self.remove(client, hub, key)
        line = {"client": client, "hub": hub.name, "key": key, "call": "write", "value": value}
        if chance < 0.5:
            found = self.look(client, hub, [key])
            if not found or key not in found: return
            (expected, version), line["call"] = found[key], "replace"
            line["expected"], manifest["metadata"]["resourceVersion"] = expected, version
        began = time.time()
        code, output, errors = self.command(hub, ["apply", "-f", "-", "-o", "json"], json.dumps(manifest))
        line.update(began=began, ended=time.time())
        if code == 0: line.update(outcome="ok", answer="done")
        elif code == 75: line.update(outcome="ok", answer="conflict", reason=errors.strip()[-300:])
        else: line = self.outcome(line, code, errors)
        self.history.add(line)

    def remove(self, client, hub, key):
        began = time.time()
        line = {"client": client, "hub": hub.name, "key": key, "call": "remove"}
        code, output, errors = self.command(hub, ["delete", "drain", key, "--ignore-not-found", "-o", "json"])
        line.update(began=began, ended=time.time())
        if code == 0:
            did = json.loads(output)["changes"][0]["outcome"]
            line.update(outcome="ok", answer="done" if did == "deleted" else "absent")
        else:
            line = self.outcome(line, code, errors)
        self.history.add(line)

    def read(self, client, dice):
        last = int((time.monotonic() - self.began) / self.round_length)
        keys = [f"chaos-{age}-{place}" for age in (last - 1, last) if age >= 0 for place in range(self.keys)]
        self.look(client, dice.choice(self.world.of("hub")), [key for key in keys if key in self.known])

    def look(self, client, hub, keys):
        """Reads all drains; the value and the version of those of the keys that are there, or None."""
        began = time.time()
        code, output, errors = self.command(hub, ["get", "drains", "-o", "json"])
        ended = time.time()
        if code != 0:
            if code not in (69, None): self.unexpected.append((code, errors))
            return None
        found = {item["metadata"]["name"]: (item["spec"]["reason"], item["metadata"]["resourceVersion"])
                 for item in json.loads(output)["items"]}
        for key in keys:
            self.history.add({"client": client, "hub": hub.name, "key": key, "call": "read", "outcome": "ok",
                              "answer": "value", "read": found.get(key, (None,))[0], "began": began, "ended": ended})
        return found

    def look_at_all(self, hub):
        return until_read(lambda: self.look("final", hub, sorted(self.known)))


def until_read(look):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (found := look()) is not None: return found
        time.sleep(0.5)
    return None
