#!/usr/bin/env python3
"""Compares `isobar solve` with an exact optimum.

For random fleets the convex problem of one band is written as a linear program, F_c by its tangents, and solved by
HiGHS (scipy). F_c is then evaluated exactly at both answers, so that the excess is

    (cost of isobar's weights - cost of the LP's flows) / cost of the LP's flows

which is negative where the tangents are too coarse for the LP. Exit code 1 when any excess is above --limit.

    pip install -r requirements.txt
    ./compare.py PATH/TO/isobar [--epsilon 0.002] [--limit 0.2] [--seeds 3]
"""
import argparse
import json
import subprocess
import sys

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

SIZES = [(3, 3), (5, 8), (10, 20), (20, 50), (40, 100)]
LOADS = [0.4, 0.6, 0.75, 0.85, 0.9, 0.95]
KINK = 0.97


class Instance:
    def __init__(self, sources, clusters, load, seed):
        dice = np.random.default_rng(seed)
        self.sources, self.clusters = sources, clusters
        self.capacity = dice.uniform(5, 60, clusters)
        self.servers = np.maximum(1, (self.capacity / 5).round())
        demand = dice.lognormal(0, 0.8, sources)
        self.demand = demand / demand.sum() * load * self.capacity.sum()
        places = dice.uniform(0, 1, (sources, 2))
        others = dice.uniform(0, 1, (max(0, clusters - sources), 2))
        sites = np.vstack([places, others])[:clusters]
        self.rtt = 0.002 + 0.22 * np.linalg.norm(places[:, None] - sites[None], axis=2)
        self.unloaded = dice.uniform(0.05, 0.3, clusters)
        self.scale = dice.uniform(0.1, 0.5, clusters)
        self.exponent = np.sqrt(2 * (self.servers + 1)) - 1

    def delay(self, load):
        """D_c, and its derivative by the load."""
        use = load / self.capacity
        kept = np.minimum(use, KINK)
        value = kept**self.exponent / (1 - kept)
        slope = self.exponent * kept ** (self.exponent - 1) / (1 - kept) + kept**self.exponent / (1 - kept) ** 2
        value = value + np.where(use > KINK, slope * (use - KINK), 0)
        return self.unloaded + self.scale * value, self.scale * slope / self.capacity

    def cost(self, flow):
        load = flow.sum(axis=0)
        return float((flow * self.rtt).sum() + (load * self.delay(load)[0]).sum())

    def problem(self, epsilon):
        region = [f"r{i}" for i in range(max(self.sources, self.clusters))]
        return {
            "pool": "random",
            "sources": [{"region": region[r], "demand": {"premium": self.demand[r]}} for r in range(self.sources)],
            "clusters": [
                {
                    "name": f"c{c}", "region": region[c], "capacity": self.capacity[c],
                    "servers": int(self.servers[c]), "unloadedTTFT": self.unloaded[c], "queueScale": self.scale[c],
                }
                for c in range(self.clusters)
            ],
            "rtt": {region[r]: {region[c]: self.rtt[r, c] for c in range(self.clusters)} for r in range(self.sources)},
            "policy": {"stepLimit": False, "epsilon": epsilon, "failover": "none"},
        }

    def best(self, tangents):
        """The LP: flows x and one variable z_c >= every tangent of F_c at its load."""
        pairs = self.sources * self.clusters
        limit = max(1.05, 1.2 * self.demand.sum() / self.capacity.sum())
        at = np.concatenate([np.linspace(0, 0.6, tangents // 3), np.linspace(0.6, KINK, tangents)[1:], [1.0, limit]])
        rows, columns, values, bounds = [], [], [], []
        for k, use in enumerate(at):
            load = use * self.capacity
            delay, slope = self.delay(load)
            rise = delay + load * slope
            for c in range(self.clusters):
                row = k * self.clusters + c
                rows += [row] * (self.sources + 1)
                columns += list(range(c, pairs, self.clusters)) + [pairs + c]
                values += [rise[c]] * self.sources + [-1]
            bounds.append(rise * load - load * delay)
        above = coo_matrix((values, (rows, columns)), shape=(len(at) * self.clusters, pairs + self.clusters))
        sums = coo_matrix(
            (np.ones(pairs), (np.repeat(np.arange(self.sources), self.clusters), np.arange(pairs))),
            shape=(self.sources, pairs + self.clusters),
        )
        solved = linprog(
            np.concatenate([self.rtt.ravel(), np.ones(self.clusters)]),
            A_ub=above, b_ub=np.concatenate(bounds), A_eq=sums, b_eq=self.demand, method="highs",
        )
        if solved.status != 0:
            raise RuntimeError(solved.message)
        return self.cost(np.maximum(solved.x[:pairs], 0).reshape(self.sources, self.clusters))


def isobar(path, instance, epsilon):
    command = [*path.split(), "--problem", "-", "-o", "json"]
    run = subprocess.run(command, input=json.dumps(instance.problem(epsilon)), capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    answer = json.loads(run.stdout)
    flow = np.zeros((instance.sources, instance.clusters))
    for source, row in answer["weights"]["premium"].items():
        for cluster, weight in row.items():
            flow[int(source[1:]), int(cluster[1:])] = weight * instance.demand[int(source[1:])]
    return instance.cost(flow), answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("isobar", help='the command, as in "isobar solve"; a bare path gets "solve" added')
    parser.add_argument("--epsilon", type=float, default=0.002, help="seconds; default 0.002")
    parser.add_argument("--limit", type=float, default=0.2, help="largest excess in percent; default 0.2")
    parser.add_argument("--seeds", type=int, default=3, help="instances of each size and load; default 3")
    parser.add_argument("--tangents", type=int, default=240, help="of each cluster in the LP; default 240")
    options = parser.parse_args()
    path = options.isobar if " " in options.isobar else options.isobar + " solve"

    worst = -np.inf
    print("sources clusters  load  excess mean %   max %  gap max %  cost error  steps")
    for sources, clusters in SIZES:
        for load in LOADS:
            excess, gaps, errors, steps = [], [], [], []
            for seed in range(options.seeds):
                instance = Instance(sources, clusters, load, 1000 * seed + sources)
                tangents = options.tangents if clusters <= 50 else options.tangents // 2
                best = instance.best(tangents)
                cost, answer = isobar(path, instance, options.epsilon)
                excess.append(100 * (cost - best) / best)
                gaps.append(100 * answer["gap"] / answer["cost"])
                errors.append(abs(answer["cost"] * instance.demand.sum() - cost) / cost)
                steps.append(answer["iterations"])
                # The certificate must hold against what the LP proves.
                assert (cost - best) / instance.demand.sum() <= answer["gap"] + 1e-6, "the certificate is wrong"
            worst = max(worst, *excess)
            print(
                f"{sources:7d} {clusters:8d} {load:5.2f} {np.mean(excess):14.4f} {max(excess):7.4f} "
                f"{max(gaps):10.4f} {max(errors):11.1e} {np.mean(steps):6.1f}",
                flush=True,
            )
    print(f"worst excess {worst:.4f} %, limit {options.limit} % at epsilon {options.epsilon} s")
    return 0 if worst <= options.limit else 1


if __name__ == "__main__":
    sys.exit(main())
