"""What must hold after a run, judged from what clients saw and what programs logged."""
import collections, json, os, re, subprocess, sys

VERSION = re.compile(r"^(\d+)\.(\d+)$")
# A gateway has this long to notice that a way to an endpoint is open again, in seconds.
GRACE = 15
# What was cut off is noticed this long after it was mended, at most: the silence that a gateway waits for, and a try.
ECHO = 25


def lines(path):
    """The JSON lines of a log; a line that was cut off by a kill is left out."""
    try:
        with open(path, errors="replace") as file:
            for text in file:
                try:
                    yield json.loads(text)
                except ValueError:
                    continue
    except FileNotFoundError:
        return


def version(text):
    match = VERSION.match(text or "")
    return (int(match[1]), int(match[2])) if match else None


def field(line, name): return line.get(name, (line.get("metadata") or {}).get(name))


class Checks:
    def __init__(self, world, breaker, load, operators, bench):
        self.world, self.breaker, self.load, self.operators, self.bench = world, breaker, load, operators, bench
        self.failed = []
        # At the end: processes that are not ready, and what `isobar check` said.
        self.absent, self.found = [], (0, "", "")

    def verdict(self, name, problems, said):
        """One line for one check; what is wrong with it goes to a file, and its beginning to the terminal."""
        print(f"  {'ok  ' if not problems else 'FAIL'} {name}: {said}")
        if not problems: return
        self.failed.append(name)
        for problem in problems[:5]: print(f"         {problem}")
        with open(f"{self.world.folder}/problems.txt", "a") as file:
            file.writelines(f"{name}: {problem}\n" for problem in problems)

    def all(self, blackouts):
        self.processes()
        self.writes()
        self.linearizability()
        self.leaders()
        self.generations()
        self.requests()
        self.executions()
        self.enough(blackouts)
        return not self.failed

    # Programs

    def processes(self):
        mine = [process for process in self.world.processes.values() if process.role != "etcd"]
        ended = [f"{process.name} ended by itself: {process.endings}" for process in mine if process.endings]
        ended += [f"{name} is not ready at the end" for name in self.absent]
        if self.found[0] not in (0, 2): ended.append(f"isobar check ends with {self.found[0]}: {self.found[1:]}")
        etcd = sum(len(process.endings) for process in self.world.of("etcd"))
        self.verdict("no program of Isobar ended by itself, and all are well at the end", ended,
                     f"{sum(process.lives for process in mine)} lives of {len(mine)} processes; "
                     f"etcd gave up {etcd} times, as on a full disk")

    # Resources

    def writes(self):
        """By the clients' clock alone: what stands at the end is not older than an acknowledged write."""
        calls = collections.defaultdict(list)
        for line in self.operators.history.lines: calls[line["key"]].append(line)
        problems, acknowledged = [], 0
        for key, history in calls.items():
            changes = [line for line in history if line["call"] != "read"]
            acked = [line for line in changes if line["outcome"] == "ok" and line["answer"] == "done"]
            acknowledged += len(acked)
            final = [line for line in history if line["client"] == "final"]
            for look in final:
                author = next((line for line in changes if line.get("value") == look["read"]), None)
                if look["read"] is not None and author is None:
                    problems.append(f"{key} holds {look['read']}, which nobody wrote")
                    continue
                if look["read"] is None:
                    removals = [line for line in changes if line["call"] == "remove" and line["outcome"] != "failed"]
                    last = max((line["began"] for line in acked if line["call"] != "remove"), default=None)
                    # Some removal may have come after the last write.
                    if last is not None and not any(r["outcome"] == "unknown" or r["ended"] >= last for r in removals):
                        problems.append(f"{key} is gone at {look['hub']}, though a write was acknowledged")
                    continue
                until = author["ended"] if author["outcome"] == "ok" else float("inf")
                later = [line for line in acked if line["began"] > until and line is not author]
                if author["outcome"] == "failed": problems.append(f"{key} holds {look['read']}, whose write had failed")
                if later: problems.append(f"{key} holds {look['read']} at {look['hub']}, and {later[-1]} was acknowledged later")
        reads = {(line["hub"], line["key"]): line["read"] for line in self.operators.history.lines if line["client"] == "final"}
        for key in calls:
            said = {reads.get((process.name, key), "unread") for process in self.world.of("hub")}
            if len(said) > 1: problems.append(f"{key}: the replicas say {said}")
        problems += [f"a command ended with {code}: {errors.strip()[-300:]}" for code, errors in self.operators.unexpected]
        self.verdict("every acknowledged write is present, or superseded", problems,
                     f"{acknowledged} acknowledged writes of {len(calls)} resources, read at the end from every replica")

    def linearizability(self):
        done = subprocess.run([self.bench, "linearizability", f"{self.world.folder}/resources.jsonl"],
                              capture_output=True, text=True)
        if done.returncode not in (0, 1, 2) or not done.stdout:
            return self.verdict("resources are linearizable", [done.stderr.strip()], "the judge failed")
        report = json.loads(done.stdout)
        self.verdict("resources are linearizable", [json.dumps(one) for one in report["violations"]],
                     f"{report['operations']} operations on {report['registers']} resources: {report['answered']} answered, "
                     f"{report['failed']} failed, {report['unknown']} unknown")

    # Plans

    def leaders(self):
        """Who led in which epoch, and who wrote which plan, by the hubs' own logs."""
        leaders, writers, problems = collections.defaultdict(set), collections.defaultdict(set), []
        with open(f"{self.world.folder}/leadership.jsonl", "w") as history:
            for process in self.world.of("hub"):
                for life, log in enumerate(process.logs(), 1):
                    for line in lines(log):
                        message = line.get("message")
                        if message not in ("leading", "no longer leading", "plan accepted"): continue
                        entry = {"hub": process.name, "life": life, "event": message,
                                 **{key: field(line, key) for key in ("epoch", "plan") if field(line, key)}}
                        history.write(json.dumps(entry) + "\n")
                        if message == "leading": leaders[int(entry["epoch"])].add((process.name, life))
                        if message == "plan accepted": writers[version(entry["plan"])].add((process.name, life))
        for epoch, who in leaders.items():
            if len(who) > 1: problems.append(f"epoch {epoch} has the leaders {sorted(who)}")
        generations = collections.defaultdict(set)
        for plan, who in writers.items():
            generations[plan[1]].add(plan)
            if len(who) > 1: problems.append(f"plan {plan} was written by {sorted(who)}")
            if not who <= leaders[plan[0]]: problems.append(f"plan {plan} was written by {sorted(who)}, not the leader")
        for generation, plans in generations.items():
            if len(plans) > 1: problems.append(f"generation {generation} was written as {sorted(plans)}")
        ordered = sorted(writers, key=lambda plan: plan[1])
        for before, after in zip(ordered, ordered[1:]):
            if after[0] < before[0]: problems.append(f"plan {after} follows plan {before}")
        self.plans = set(writers)
        self.verdict("one leader in each epoch, and only it writes plans", problems,
                     f"{len([e for e in leaders if leaders[e]])} epochs, {len(writers)} plans written")

    def generations(self):
        """What each gateway took, by its log, is strictly newer each time, as long as it lives; and what it starts from
        is no older than what it had kept."""
        problems, adopted, refused, started = [], 0, 0, 0
        troubled = {process.name for kind, process, *_ in self.breaker.others if "disk" in kind}
        for process in self.world.of("gateway"):
            kept = None
            for life, log in enumerate(process.logs(), 1):
                held, taken = None, []
                for line in lines(log):
                    message = line.get("message")
                    if message == "plan refused": refused += 1
                    if message not in ("plan adopted", "plan from disk"): continue
                    plan = version(field(line, "plan"))
                    if message == "plan from disk":
                        started += 1
                        if kept and plan < kept and process.name not in troubled:
                            problems.append(f"{process.name}, life {life}, began with {plan} and had kept {kept}")
                    else:
                        adopted += 1
                        taken.append(plan)
                        if plan not in self.plans: self.unlogged = getattr(self, "unlogged", 0) + 1
                    if held and plan <= held: problems.append(f"{process.name}, life {life}: {plan} after {held}")
                    held = plan
                # The last few may not have reached the disk when it was killed.
                if len(taken) > 3: kept = taken[-4]
        self.verdict("generations strictly increase at each gateway", problems,
                     f"{adopted} plans taken, {refused} of the past refused, {started} starts from a plan on disk")

    # Requests

    def outages(self, process):
        return [(began, ended) for one, began, ended in self.breaker.down if one is process]

    def absences(self, process):
        """Killed or told to end, and not ready again."""
        return self.outages(process) + [(began, ended) for one, began, ended in self.breaker.ended if one is process]

    def pauses(self, process):
        return [(began, ended) for one, began, ended in self.breaker.stopped if one is process]

    def silences(self, process): return self.absences(process) + self.pauses(process)

    @staticmethod
    def meets(intervals, began, ended): return any(b <= ended and e >= began for b, e in intervals)

    def link(self, a, b):
        return [(began, ended) for source, target, began, ended in self.breaker.cuts if {source, target} == {a, b}]

    def ways(self, gateway):
        """Of each way from a gateway to an endpoint, when it was not open."""
        for engine in self.world.of("engine"):
            broken = self.silences(engine)
            if engine.host.region == gateway.host.region:
                yield broken + self.link(gateway.host.name, engine.host.name)
                continue
            for peer in self.world.of("gateway"):
                if peer.host.region != engine.host.region: continue
                yield (broken + self.silences(peer) + self.link(gateway.host.name, peer.host.name)
                       + self.link(peer.host.name, engine.host.name))

    def was_cut_off(self, gateway, began, ended):
        """Whether at some moment from `GRACE` before the request on no endpoint at all was reachable."""
        ways = list(self.ways(gateway))
        moments = [began - GRACE, ended] + [at for way in ways for pair in way for at in pair]
        moments = sorted(at for at in moments if began - GRACE <= at <= ended)
        moments += [(a + b) / 2 for a, b in zip(moments, moments[1:])]
        return any(all(self.meets(way, at, at) for way in ways) for at in moments)

    def troubles(self, gateway, cluster, began, ended):
        """Whether something was broken that a request from a gateway to a cluster may have met."""
        engine = self.world.processes[f"engine-{cluster}"]
        on_way = {gateway, engine}
        if engine.host.region != gateway.host.region:
            on_way |= {peer for peer in self.world.of("gateway") if peer.host.region == engine.host.region}
        hosts = {process.host.name for process in on_way}
        began -= ECHO
        # Its own gateway finishes what it has begun when it is told to end.
        broken = [self.outages(process) + self.pauses(process) if process is gateway else self.silences(process)
                  for process in on_way]
        if any(self.meets(intervals, began, ended) for intervals in broken): return True
        return any({source, target} <= hosts and b <= ended and e >= began
                   for source, target, b, e in self.breaker.cuts)

    def was_held_up(self, line, run):
        """Whether something on the way of a request to this execution was paused or cut while it was under way."""
        gateway, engine = self.world.processes[line["gateway"]], self.world.processes[f"engine-{run['cluster']}"]
        on_way = {gateway, engine} | {peer for peer in self.world.of("gateway") if peer.host.region == engine.host.region}
        hosts = {process.host.name for process in on_way}
        return (any(self.meets(self.pauses(process), line["began"], run["began"]) for process in on_way)
                or any({source, target} <= hosts and b <= run["began"] and e >= line["began"]
                       for source, target, b, e in self.breaker.cuts))

    def requests(self):
        problems, outcomes, excused = [], collections.Counter(), collections.Counter()
        for line in self.load.attempts.lines:
            gateway, outcome = self.world.processes[line["gateway"]], line["outcome"]
            outcomes[outcome] += 1
            said = f"{line['request']} at {line['gateway']}: {outcome} {line.get('status', '')} {line.get('reason', '')}"
            if outcome in ("refused connection", "no answer"):
                if self.meets(self.absences(gateway), line["began"] - 1, line["ended"]): excused[outcome] += 1
                else: problems.append(f"{said}, and the gateway was up")
            elif outcome == "refusal":
                if self.was_cut_off(gateway, line["began"], line["ended"]): excused[outcome] += 1
                else: problems.append(f"{said}, and an endpoint was reachable all the time")
            elif outcome == "cut":
                cluster = line.get("cluster")
                # One that is told to end finishes what it has begun, for four seconds.
                wasEnded = any(one is gateway and line["began"] <= at <= line["ended"] - 3.5
                               for one, at, _ in self.breaker.ended)
                if self.meets(self.outages(gateway), line["began"], line["ended"]) or wasEnded or cluster and self.troubles(
                        gateway, cluster, line["began"], line["ended"]): excused[outcome] += 1
                else: problems.append(f"{said}, and nothing on its way was broken")
        problems += [f"request {number} was never answered" for number in self.load.unanswered]
        self.answered = outcomes["answered"]
        region = lambda line: self.world.processes[f"engine-{line['cluster']}"].host.region
        self.remote = sum(1 for line in self.load.attempts.lines if line["outcome"] == "answered"
                          and region(line) != self.world.processes[line["gateway"]].host.region)
        self.verdict(
            "no request that had not started was lost", problems,
            f"{self.load.sent} requests, {outcomes['answered']} answered, {self.remote} of them by another region; sent again after their gateway was killed: "
            f"{excused['no answer']} without an answer, {excused['refused connection']} refused connections; "
            f"{excused['cut']} answers cut after they had begun; {excused['refusal']} refusals while no endpoint was reachable")

    def executions(self):
        """By the engines' request logs: nothing begins after the client has its answer's beginning, and what was
        executed to its end twice was cut off between the two."""
        runs, problems, again, explained = collections.defaultdict(list), [], 0, 0
        total, stale = 0, 0
        for engine in self.world.of("engine"):
            open_ = {}
            for line in lines(f"{self.world.folder}/logs/{engine.name}.requests"):
                name, event = line["id"], line["event"]
                if event == "taken":
                    total += 1
                    open_[name] = {"cluster": engine.name[7:], "began": line["time"], "ended": None, "how": "killed"}
                    runs[name].append(open_[name])
                elif event != "begun" and name in open_:
                    open_.pop(name).update(ended=line["time"], how=event)
        attempts = {line["request"]: line for line in self.load.attempts.lines}
        for name, started in runs.items():
            line = attempts.get(name)
            if line is None: continue
            started.sort(key=lambda run: run["began"])
            if len(started) > 1: again += 1
            late = [run for run in started if "answered" in line and line["status"] == 200 and run["began"] > line["answered"] + 0.05]
            for run in late:
                # What a paused gateway had taken, or a cut link held back, may come long after its sender gave it up.
                if run["how"] != "finished" and self.was_held_up(line, run): stale += 1
                else: problems.append(f"{name} began at {run['cluster']} after its answer had begun, and was {run['how']}")
            finished = [run for run in started if run["how"] == "finished"]
            if len(finished) > 1:
                gateway = self.world.processes[line["gateway"]]
                lost = finished[:-1]
                if all(self.troubles(gateway, run["cluster"], run["began"], line["ended"]) for run in lost): explained += 1
                else: problems.append(f"{name} was executed {len(finished)} times to the end, and nothing was broken: {finished}")
            if len(line.get("executions", [])) > 1: problems.append(f"{name}: one answer of several executions")
        self.verdict("none that had started was executed twice", problems,
                     f"{total} executions; {again} requests were tried at more than one engine, {explained} of them "
                     f"finished by one that was cut off; {stale} stale copies came after the answer, from a pause or a cut, "
                     f"and were dropped")

    def enough(self, blackouts):
        """A run in which nothing happened proves nothing."""
        problems = [f"this program failed: {fault}" for fault in self.world.faults]
        acked = sum(1 for line in self.operators.history.lines if line["call"] != "read" and line["outcome"] == "ok")
        if self.answered < 100: problems.append(f"only {self.answered} requests were answered")
        if not self.remote: problems.append("no request was answered by another region")
        if acked < 20: problems.append(f"only {acked} writes were answered")
        for blackout in blackouts:
            self.verdict("losing every hub and the store costs nothing but freshness", blackout["problems"], blackout["said"])
        self.verdict("the run was a run", problems,
                     f"{sum(self.breaker.counts.values())} faults of {len(self.breaker.counts)} kinds, "
                     f"{self.breaker.skipped} skipped because their target was already broken")
