#!/usr/bin/env python3
"""Breaks a whole fleet of real processes at random, under load, and checks what must hold: docs/chaos.md.

usage: testenv/chaos ISOBAR ISOBAR-BENCH [--seconds N | --minutes N] [--seed N] [--blackout N] [--keep]
"""
import argparse, os, random, shutil, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import Checks
from clients import Load, Operators
from faults import Breaker, missing_tools, schedule
from world import World, until

INSIDE = "ISOBAR_CHAOS_INSIDE"


def say(text): print(text, flush=True)


def enter_namespaces():
    """Runs this program anew in namespaces of its own: its networks, mounts and processes end with it."""
    if os.environ.get(INSIDE): return
    if os.geteuid() != 0: sys.exit("chaos: needs root, for network namespaces and small disks; run: sudo make chaos")
    if missing := missing_tools(): sys.exit(f"chaos: {', '.join(missing)} missing; run: testenv/setup")
    inside = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        sys.exit("chaos: NO NETWORK NAMESPACES HERE, so nothing was broken and nothing is known. Run it as root on a "
                 "kernel with CONFIG_NET_NS, CONFIG_VETH, CONFIG_BRIDGE and CONFIG_NF_TABLES, in a container only with "
                 "--privileged.")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*inside, sys.executable, *sys.argv])


def start(world):
    for role in ("etcd", "engine", "hub", "agent", "gateway"):
        for process in world.of(role): process.start()
    for process in world.processes.values():
        if not process.await_ready(): sys.exit(f"chaos: {process.name} is not ready; {process.log}")
    if not until(world.settled, 120, 0.5): sys.exit("chaos: the fleet does not settle")


def blackout(world, breaker, load, operators, seconds):
    """Every hub and the store are killed at once, and a gateway is killed meanwhile and starts from the plan on its
    disk; what becomes of requests, and how things come back."""
    middle, gateways = world.of("hub", "etcd"), world.of("gateway")
    plans = {process.name: world.ask(process).get("plan") for process in gateways}
    threads = [threading.Thread(target=process.end) for process in middle]
    world.note("blackout")
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    began = time.time()
    time.sleep(seconds / 3)
    restarted = gateways[world.seed % len(gateways)]
    absent = time.time()
    restarted.end()
    restarted.start()
    isBack = restarted.await_ready(60)
    back = time.time()
    breaker.down.append((restarted, absent, back))
    time.sleep(max(0, began + seconds - back))
    ended = time.time()
    problems = [] if isBack else [f"{restarted.name} does not come back without a hub"]
    for process in gateways:
        before, after = plans[process.name], (world.ask(process) or {}).get("plan")
        version = lambda plan: plan and (plan["epoch"], plan["generation"])
        if not after or not before or version(after) < version(before):
            problems.append(f"{process.name} held {before} before and holds {after}")
    world.note("blackout over")
    for process in middle: process.start()
    recovered = {"leader": None, "plan": None, "write": None}
    def acknowledged():
        return any(line["outcome"] == "ok" and line["call"] != "read" and line["ended"] > ended
                   for line in operators.history.lines[-200:])
    def all_have_newer():
        for process in gateways:
            plan = (world.ask(process) or {}).get("plan")
            if not plan or plan["generation"] <= (plans[process.name] or {"generation": 0})["generation"]: return False
        return True
    tests = {"leader": world.leader, "plan": all_have_newer, "write": acknowledged}
    def look():
        for name, test in tests.items():
            if recovered[name] is None and test(): recovered[name] = time.time() - ended
        return all(value is not None for value in recovered.values())
    if not until(look, 120, 0.1): problems.append(f"not everything came back within 120 s: {recovered}")
    # Those that began and ended while there was nobody to plan.
    during = [line for line in load.attempts.lines if line["began"] >= began and line["ended"] <= ended]
    missed = [line for line in during if line["outcome"] != "answered"]
    def was_on_the_way(line):
        """It was the client's gateway, or the one in another region that the answer came through."""
        region = line.get("cluster", "").rpartition("-")[0]
        isPeer = line["outcome"] == "cut" and region == restarted.host.region
        return line["gateway"] == restarted.name or isPeer and world.processes[line["gateway"]].host.region != region
    met = [line for line in missed if line["outcome"] != "refusal" and was_on_the_way(line)
           and line["began"] <= back and line["ended"] >= absent]
    problems += [f"{line['request']} at {line['gateway']}: {line['outcome']} {line.get('status', '')} {line.get('reason', '')}"
                 for line in missed if line not in met]
    after = sum(1 for line in during if line["gateway"] == restarted.name and line["began"] > back)
    if len(during) < seconds: problems.append(f"only {len(during)} requests in {seconds:.0f} s")
    reasons = sorted({line.get("reason", "?") for line in during if line["outcome"] == "answered"})
    took = ", ".join(f"{name} {value:.1f} s" if value is not None else f"no {name}" for name, value in recovered.items())
    return {"problems": problems,
            "said": f"{len(during) - len(met)} requests in {ended - began:.0f} s without them, all answered in one try "
                    f"({', '.join(reasons)}), {after} of them by {restarted.name}, which was killed meanwhile and was back "
                    f"in {back - absent:.1f} s ({len(met)} met that); after the restart of all: {took}"}


def main():
    parser = argparse.ArgumentParser(prog="chaos")
    parser.add_argument("isobar")
    parser.add_argument("bench")
    parser.add_argument("--seconds", type=float, default=180, help="how long the fleet is broken and mended")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--seed", type=int, help="which faults come when; drawn when it is not given")
    parser.add_argument("--blackout", type=float, help="seconds without any hub and store; a quarter of the time, 300 at most")
    parser.add_argument("--rate", type=float, default=12, help="requests a second")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder also when all is well")
    enter_namespaces()
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    dark = options.blackout if options.blackout is not None else min(300, seconds / 4)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    isobar, bench = os.path.abspath(options.isobar), os.path.abspath(options.bench)
    subprocess.run(["mount", "-t", "tmpfs", "netns", "/run/netns"], check=os.path.isdir("/run/netns"), capture_output=True)
    folder = tempfile.mkdtemp(prefix=f"isobar-chaos-{seed}-")
    say(f"chaos: seed {seed}, {seconds:.0f} s of faults and {dark:.0f} s without hubs and store; {folder}")
    began = time.monotonic()
    world = World(isobar, folder, seed)
    start(world)
    say(f"  {len(world.processes)} processes on {len(world.hosts)} hosts are up after {time.monotonic() - began:.0f} s; "
        f"monotonic clocks {'differ' if world.can_skew else 'CANNOT BE SHIFTED HERE and are the same'}")
    supervisor = threading.Thread(target=world.supervise, daemon=True)
    supervisor.start()
    load, operators, breaker = Load(world, seed, options.rate), Operators(world, seed), Breaker(world)
    load.start()
    operators.start()
    breaker.run(schedule(seed, seconds - dark, 20 if seconds > 600 else 8))
    say("  " + ", ".join(f"{count}x {kind}" for kind, count in sorted(breaker.counts.items())))
    calm = time.monotonic()
    if not until(world.settled, 120, 0.5):
        checks = Checks(world, breaker, load, operators, bench)
        checks.verdict("the fleet settles when nothing is broken any more", ["it did not within 120 s"], "")
        blackouts = []
    else:
        say(f"  settled {time.monotonic() - calm:.1f} s after the last fault was mended")
        # What the last faults left open is over.
        time.sleep(5)
        blackouts = [blackout(world, breaker, load, operators, dark)]
        until(world.settled, 120, 0.5)
        checks = Checks(world, breaker, load, operators, bench)
    operators.stop()
    load.stop()
    for hub in world.of("hub"): operators.look_at_all(hub)
    checks.absent = [process.name for process in world.processes.values() if not process.await_ready(60)]
    checks.found = operators.command(world.of("hub")[0], ["check"])
    world.stop()
    good = checks.all(blackouts)
    if good and not options.keep:
        # Its mounts end with this process.
        subprocess.run(["umount", *[host.folder for host in world.hosts.values()]], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    if not good:
        say(f"chaos: FAILED: {'; '.join(checks.failed)}\n  everything is in {folder}\n"
            f"  the same faults again: make chaos SEED={seed} SECONDS={seconds:.0f}"
            f"{f' BLACKOUT={dark:.0f}' if options.blackout is not None else ''}"
            f"{' CONFIG=debug' if '/debug/' in isobar else ''}")
        sys.exit(1)
    say(f"chaos: all held, seed {seed}, {time.monotonic() - began:.0f} s in all")


main()
