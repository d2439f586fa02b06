"""Each check is shown a run that broke its rule, and one that did not. `make chaos` begins with these."""
import contextlib, io, json, os, sys, tempfile, unittest
from types import SimpleNamespace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import Checks
from faults import KINDS, schedule


class Process(SimpleNamespace):
    __hash__ = object.__hash__
    def logs(self): return [f"{self.folder}/logs/{self.name}.{life}.log" for life in range(1, self.lives + 1)]


class Run:
    """Two regions with a gateway and an engine each, two hubs, and what happened to them."""

    def __init__(self, folder):
        self.folder, self.processes, self.faults = folder, {}, []
        os.makedirs(f"{folder}/logs", exist_ok=True)
        for role, name, host, region in (
                ("hub", "hub-0", "hub-0", None), ("hub", "hub-1", "hub-1", None), ("etcd", "etcd-0", "etcd-0", None),
                ("gateway", "us-gw", "us-gw", "us"), ("gateway", "eu-gw", "eu-gw", "eu"),
                ("engine", "engine-us-a", "site-us-a", "us"), ("engine", "engine-eu-a", "site-eu-a", "eu")):
            self.processes[name] = Process(folder=folder, role=role, name=name, lives=1, endings=[],
                                           host=SimpleNamespace(name=host, region=region))
        self.breaker = SimpleNamespace(down=[], ended=[], stopped=[], cuts=[], others=[], counts={"kill": 1}, skipped=0)
        self.operators = SimpleNamespace(history=SimpleNamespace(lines=[]), unexpected=[])
        self.load = SimpleNamespace(attempts=SimpleNamespace(lines=[]), sent=0, unanswered=[])
        self.checks = Checks(self, self.breaker, self.load, self.operators, "no-bench")

    def of(self, *roles): return [process for process in self.processes.values() if process.role in roles]

    def log(self, name, *entries, life=1):
        self.processes[name].lives = max(self.processes[name].lives, life)
        with open(f"{self.folder}/logs/{name}.{life}.log", "a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def op(self, client, call, began, ended, outcome="ok", answer="done", **fields):
        self.operators.history.lines.append({"client": client, "hub": "hub-0", "key": "k", "call": call, "outcome": outcome,
                                             "answer": answer, "began": began, "ended": ended, **fields})

    def final(self, read, hub="hub-0"): self.op("final", "read", 100, 101, answer="value", read=read, hub=hub)

    def attempt(self, name, outcome, began, ended, gateway="us-gw", **fields):
        self.load.attempts.lines.append({"request": name, "gateway": gateway, "stream": True, "began": began,
                                         "ended": ended, "outcome": outcome, **fields})

    def holds(self, check):
        self.checks.plans = set()
        with contextlib.redirect_stdout(io.StringIO()): getattr(self.checks, check)()
        return not self.checks.failed


class ChecksTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.run_ = Run(folder.name)

    def holds(self, check): self.assertTrue(self.run_.holds(check), self.problems())
    def breaks(self, check): self.assertFalse(self.run_.holds(check))

    def problems(self):
        path = f"{self.run_.folder}/problems.txt"
        return open(path).read() if os.path.exists(path) else ""

    # Programs

    def test_a_program_that_ends_by_itself(self):
        self.run_.processes["etcd-0"].endings.append(1)
        self.holds("processes")
        self.run_.processes["us-gw"].endings.append(-11)
        self.breaks("processes")

    def test_a_program_that_does_not_come_back(self):
        self.run_.checks.absent = ["etcd-0"]
        self.breaks("processes")

    def test_a_fleet_with_a_failed_check(self):
        self.run_.checks.found = (3, "leader failed", "")
        self.breaks("processes")

    # Writes

    def test_what_was_written_stands_there(self):
        run = self.run_
        run.op("a", "write", 1, 2, value="x")
        run.final("x"); run.final("x", "hub-1")
        self.holds("writes")

    def test_an_acknowledged_write_is_gone(self):
        run = self.run_
        run.op("a", "write", 1, 2, value="x")
        run.final(None); run.final(None, "hub-1")
        self.breaks("writes")

    def test_a_removal_whose_answer_was_lost_explains_that_it_is_gone(self):
        run = self.run_
        run.op("b", "remove", 0, 0.5, outcome="unknown")
        run.op("a", "write", 1, 2, value="x")
        run.final(None); run.final(None, "hub-1")
        self.holds("writes")

    def test_an_older_value_stands_there(self):
        run = self.run_
        run.op("a", "write", 1, 2, value="x")
        run.op("a", "write", 3, 4, value="y")
        run.final("x"); run.final("x", "hub-1")
        self.breaks("writes")

    def test_a_write_whose_answer_was_lost_may_come_late(self):
        run = self.run_
        run.op("a", "write", 1, 2, outcome="unknown", value="x")
        run.op("a", "write", 3, 4, value="y")
        run.final("x"); run.final("x", "hub-1")
        self.holds("writes")

    def test_a_write_that_had_failed_stands_there(self):
        run = self.run_
        run.op("a", "write", 1, 2, outcome="failed", value="x")
        run.final("x"); run.final("x", "hub-1")
        self.breaks("writes")

    def test_replicas_that_differ(self):
        run = self.run_
        run.op("a", "write", 1, 2, value="x")
        run.op("b", "write", 1, 2, value="y")
        run.final("x"); run.final("y", "hub-1")
        self.breaks("writes")

    # Leaders and plans

    def lead(self, hub, epoch, *plans, life=1):
        self.run_.log(hub, {"message": "leading", "metadata": {"epoch": str(epoch)}},
                      *[{"message": "plan accepted", "metadata": {"plan": plan}} for plan in plans], life=life)

    def test_leaders_one_after_the_other(self):
        self.lead("hub-0", 5, "5.1", "5.2")
        self.lead("hub-1", 9, "9.3")
        self.holds("leaders")

    def test_two_leaders_of_one_epoch(self):
        self.lead("hub-0", 5)
        self.lead("hub-1", 5)
        self.breaks("leaders")

    def test_a_plan_of_another_than_the_leader(self):
        self.lead("hub-0", 5)
        self.lead("hub-1", 9, "5.1")
        self.breaks("leaders")

    def test_a_generation_that_was_written_twice(self):
        self.lead("hub-0", 5, "5.1", "5.2")
        self.lead("hub-1", 9, "9.2")
        self.breaks("leaders")

    def test_an_epoch_that_goes_back(self):
        self.lead("hub-1", 9, "9.2")
        self.lead("hub-0", 5, "5.3")
        self.breaks("leaders")

    def took(self, *plans, life=1, disk=None):
        self.run_.log("us-gw", *([{"message": "plan from disk", "metadata": {"plan": disk}}] if disk else []),
                      *[{"message": "plan adopted", "metadata": {"plan": plan}} for plan in plans], life=life)

    def test_plans_that_go_on(self):
        self.took("5.1", "5.2", "9.3", "9.4", "9.5")
        self.took("9.5", "9.6", life=2, disk="9.4")
        self.holds("generations")

    def test_a_plan_of_the_past(self):
        self.took("5.1", "9.3", "9.2")
        self.breaks("generations")

    def test_the_same_plan_twice(self):
        self.took("5.1", "5.1")
        self.breaks("generations")

    def test_a_life_that_begins_long_before_the_last_one_ended(self):
        self.took("5.1", "5.2", "5.3", "5.4", "5.5", "5.6")
        self.took("5.7", life=2, disk="5.2")
        self.breaks("generations")

    # Requests

    def test_a_request_without_an_answer_counts_unless_its_gateway_was_killed(self):
        run = self.run_
        run.attempt("1.0", "no answer", 10, 11)
        run.breaker.down.append((run.processes["us-gw"], 10.5, 12))
        self.holds("requests")
        run.attempt("2.0", "no answer", 20, 21)
        self.breaks("requests")

    def test_a_request_that_never_got_one(self):
        self.run_.load.unanswered.append(7)
        self.breaks("requests")

    def test_a_refusal_counts_unless_no_endpoint_was_reachable(self):
        run = self.run_
        run.attempt("1.0", "refusal", 10, 11, status=503)
        # Its own engine is down and its link to the other region's gateway is cut: nothing is left.
        run.breaker.down.append((run.processes["engine-us-a"], 5, 20))
        run.breaker.cuts.append(("us-gw", "eu-gw", 5, 20))
        self.holds("requests")

    def test_a_refusal_though_another_region_was_reachable(self):
        run = self.run_
        run.attempt("1.0", "refusal", 10, 11, status=503)
        run.breaker.down.append((run.processes["engine-us-a"], 5, 20))
        self.breaks("requests")

    def test_two_faults_one_after_the_other_leave_a_way_open(self):
        run = self.run_
        run.attempt("1.0", "refusal", 10, 11, status=502)
        run.breaker.down.append((run.processes["engine-us-a"], 0, 5))
        run.breaker.cuts.append(("us-gw", "eu-gw", 6, 20))
        self.breaks("requests")

    def test_a_cut_answer_counts_unless_something_on_its_way_was_broken(self):
        run = self.run_
        run.attempt("1.0", "cut", 10, 11, cluster="eu-a", status=200)
        run.breaker.stopped.append((run.processes["eu-gw"], 10, 12))
        self.holds("requests")
        run.attempt("2.0", "cut", 10, 11, cluster="us-a", status=200)
        self.breaks("requests")

    def test_a_gateway_that_is_told_to_end_finishes_its_answers(self):
        run = self.run_
        run.attempt("1.0", "cut", 10, 18, cluster="us-a", status=200)
        run.breaker.ended.append((run.processes["us-gw"], 12, 20))
        self.holds("requests")
        run.attempt("2.0", "cut", 10, 14, cluster="us-a", status=200)
        self.breaks("requests")

    # Executions

    def ran(self, engine, request, began, ended, how="finished"):
        with open(f"{self.run_.folder}/logs/engine-{engine}.requests", "a") as file:
            for at, event in ((began, "taken"), (began, "begun"), (ended, how)):
                file.write(json.dumps({"time": at, "event": event, "id": request}) + "\n")

    def test_one_execution(self):
        self.run_.attempt("1.0", "answered", 10, 12, answered=11, status=200, executions=["x"])
        self.ran("us-a", "1.0", 10.5, 11.5)
        self.holds("executions")

    def test_one_that_begins_after_its_answer_had_begun(self):
        self.run_.attempt("1.0", "cut", 10, 20, answered=11, status=200)
        self.ran("us-a", "1.0", 10.5, 11.5, how="cancelled")
        self.ran("eu-a", "1.0", 12, 13)
        self.breaks("executions")

    def test_a_stale_copy_may_come_from_a_pause_and_must_be_dropped(self):
        run = self.run_
        run.attempt("1.0", "answered", 10, 31, answered=30, status=200)
        self.ran("us-a", "1.0", 29, 29.9)
        self.ran("eu-a", "1.0", 40, 40.1, how="cancelled")
        run.breaker.stopped.append((run.processes["eu-gw"], 9, 39))
        self.holds("executions")
        self.ran("eu-a", "1.0", 41, 42)
        self.breaks("executions")

    def test_two_to_the_end_count_unless_the_first_was_cut_off(self):
        run = self.run_
        run.attempt("1.0", "answered", 10, 40, answered=31, status=200, executions=["x"])
        self.ran("us-a", "1.0", 10.5, 11.5)
        self.ran("eu-a", "1.0", 30, 31)
        run.breaker.cuts.append(("site-us-a", "us-gw", 10, 20))
        self.holds("executions")
        run.breaker.cuts.clear()
        self.breaks("executions")

    def test_an_answer_of_two_executions(self):
        self.run_.attempt("1.0", "answered", 10, 12, answered=11, status=200, executions=["x", "y"])
        self.ran("us-a", "1.0", 10.5, 11.5)
        self.breaks("executions")

    # The run itself

    def enough(self):
        with contextlib.redirect_stdout(io.StringIO()): self.run_.checks.enough([])
        return not self.run_.checks.failed

    def test_a_run_in_which_something_happened(self):
        self.run_.checks.answered, self.run_.checks.remote = 100, 1
        for number in range(20): self.run_.op("a", "write", number, number + 1, value=f"{number}")
        self.assertTrue(self.enough())
        self.run_.faults.append("an error of this program")
        self.assertFalse(self.enough())

    def test_a_run_in_which_nothing_happened(self):
        self.run_.checks.answered = self.run_.checks.remote = 0
        self.assertFalse(self.enough())

    # The schedule

    def test_the_seed_tells_the_faults(self):
        told = lambda seed: [(f.kind, f.at, f.length, f.role, f.order, f.amount) for f in schedule(seed, 135, 8)]
        self.assertEqual(told(7), told(7))
        self.assertNotEqual(told(7), told(8))
        self.assertEqual({kind for kind, *_ in told(7)}, set(KINDS), "three minutes meet every kind")


unittest.main(argv=["chaos"], verbosity=0)
