# Everything a developer or CI runs, by name. `make help` lists it.
SWIFT       ?= swift
JOBS        ?= 2
CONFIG      ?= release
# A release binary carries Swift's libraries: it runs where no Swift is installed, and calls into them cost less.
RELEASE     := $(SWIFT) build -j $(JOBS) -c release --static-swift-stdlib --scratch-path .build-release
BUILD       := $(if $(filter release,$(CONFIG)),$(RELEASE),$(SWIFT) build -j $(JOBS) -c $(CONFIG) --scratch-path .build)
ISOBAR      := .build$(if $(filter release,$(CONFIG)),-release)/$(CONFIG)/isobar
TRACE       := testenv/traces/azure2023_conv_2000.csv
AZURE       ?= $(TRACE)
PAGES       ?= 1000000
SEEDS       ?= 10000
FIRST_SEED  ?= 1
MINUTES     ?= 60
SECONDS     ?= 180

.PHONY: help setup build run test core fuzz-exposition gossip-seeds lint format bench bench-agent bench-fanout \
	bench-gateway bench-gossip bench-hub bench-path bench-pick bench-report capacity-report chaos demo-check e2e-clients \
	e2e-edge e2e-faults e2e-gateway e2e-vllm evaluate robustness-report soak clean

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Install what the build needs (Debian 12; needs root)
	testenv/setup

build:  ## Build the binary: CONFIG=release (default) or debug
	$(BUILD) --product isobar

run: build  ## Build, then run three regions on this machine with a real trace
	$(ISOBAR) demo --trace $(TRACE) --rate 6

# Rooms that compute keep every core busy for seconds at a time, which rooms that wait for sockets take for a dead
# peer: the two run one after the other. So do those that run etcd, whose many processes sync their disks, and those with
# many gRPC servers that come and go, room by room: one that is cancelled just as a late client is accepted ends the
# process, by a fault of NIOAsyncChannel under grpc-swift. The stories over real processes have the machine to themselves.
COMPUTING   := PlanDeltaTests|EngineModelTests|EngineSignalsTests|ExpositionTests|FleetSimulatorTests|WeightSolverTests
SYNCING     := EtcdCareTests|EtcdProcessTests|StateStoreEtcdTests|StateStoreSQLiteTests
LINKING     := GatewayProgramTests|GossipTransportTests|HubProgramTests|OperatorLinkTests|PlanStreamTests|ReverseProxyTests|WireTransportTests
STORIES     := ^StoryTests\.

test:  ## Build and run every test (debug)
	$(SWIFT) build -j $(JOBS) --build-tests
	$(SWIFT) test --skip-build --disable-xctest --filter '$(COMPUTING)'
	$(SWIFT) test --skip-build --disable-xctest --filter '$(SYNCING)'
	for room in $(subst |, ,$(LINKING)); do $(SWIFT) test --skip-build --disable-xctest --filter "^$$room\." || exit 1; done
	$(SWIFT) test --skip-build --disable-xctest --skip '$(COMPUTING)' --skip '$(SYNCING)' --skip '$(LINKING)' --skip '$(STORIES)'
	$(SWIFT) test --skip-build --disable-xctest --filter '$(STORIES)'

core:  ## Build and test only the pure rooms: seconds, and no package but Collections
	HOUSE=core $(SWIFT) test -j $(JOBS) --scratch-path .build-core --disable-xctest

fuzz-exposition:  ## Read PAGES=1000000 mutated metrics pages, every access checked
	HOUSE=Exposition $(SWIFT) build -j $(JOBS) --scratch-path .build-house --build-tests
	HOUSE=Exposition PAGES=$(PAGES) $(SWIFT) test --skip-build --scratch-path .build-house --disable-xctest --filter MutationTests

lint:  ## Check the format of everything that is not generated
	$(SWIFT) format lint --strict --parallel Package.swift $$(git ls-files '*.swift' | grep -v -e /Generated/ -e '^Package.swift')

format:  ## Format everything that is not generated
	$(SWIFT) format --in-place --parallel Package.swift $$(git ls-files '*.swift' | grep -v -e /Generated/ -e '^Package.swift')

demo-check: build  ## A 20-second demo that must answer every request
	testenv/demo-check $(ISOBAR)

chaos: build  ## Break a whole fleet at random, under load, and check it (root): SECONDS=180 or CHAOS_MINUTES=20, SEED=n
	$(BUILD) --product isobar-bench
	@python3 testenv/chaos/test_checks.py
	python3 testenv/chaos $(ISOBAR) $(ISOBAR)-bench $(if $(CHAOS_MINUTES),--minutes $(CHAOS_MINUTES),--seconds $(SECONDS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(BLACKOUT),--blackout $(BLACKOUT)) $(CHAOS_OPTIONS)

bench: $(addprefix bench-,pick solver telemetry agent seal gossip hub path fanout store)  ## Run every benchmark

bench-gossip: build  ## 200 agents and three hubs over mutual TLS: processor, bytes, time of a change, and a flood
	$(RELEASE) --product isobar-bench
	@testenv/bench-gossip --isobar $(ISOBAR) --bench .build-release/release/isobar-bench

bench-hub:  ## How long a fleet is without a leader, over real hubs and a real etcd
	@$(BUILD) --product isobar >&2
	@testenv/bench-hub $(ISOBAR)

bench-fanout: build  ## What one plan costs a hub with 10,000 gateways: time, processor, memory
	$(RELEASE) --product isobar-bench >&2
	@testenv/bench-fanout --isobar $(ISOBAR) --bench .build-release/release/isobar-bench

bench-path:  ## From an alarm's digest to every gateway's acknowledgement, over 50 real agents
	@$(BUILD) --product isobar >&2
	@testenv/bench-path $(ISOBAR)

bench-%:  ## Run one benchmark, such as bench-solver
	$(RELEASE) --product isobar-bench
	@.build-release/release/isobar-bench $*

bench-agent: build  ## What an agent of 1,000 endpoints costs: processor, memory, age of samples
	$(RELEASE) --product isobar-bench
	@testenv/bench-agent --isobar $(ISOBAR) --bench .build-release/release/isobar-bench

capacity-report: build  ## Rewrite docs/capacity.md: AZURE=trace.csv MOONCAKE=trace.jsonl
	testenv/capacity-report --isobar $(ISOBAR) --azure $(AZURE) --mooncake $(MOONCAKE)

bench-gateway: build  ## The gateway beside Envoy, HAProxy and the routers of PyPI (installs them into BENCH_VENV)
	$(RELEASE) --product isobar-bench
	@testenv/bench-gateway

COUNTER     := .build-release/count-allocations.so

$(COUNTER): testenv/benchmarks/count-allocations.c
	@mkdir -p $(@D)
	@clang -O2 -shared -fPIC -o $@ $<

bench-pick: $(COUNTER)  ## One request's choice, with its allocations counted
	$(RELEASE) --product isobar-bench
	@LD_PRELOAD=$(COUNTER) .build-release/release/isobar-bench pick

PYTHON      := .build-python/bin/python

$(PYTHON):
	python3 -m venv .build-python
	$(PYTHON) -m pip install -q prometheus_client==0.26.0

bench-telemetry: $(PYTHON) $(COUNTER)  ## Measure the reader of metrics pages, on one core, with its allocations counted
	$(RELEASE) --product isobar-bench
	@LD_PRELOAD=$(COUNTER) taskset -c 0 .build-release/release/isobar-bench telemetry --python $(PYTHON)

gossip-seeds: build  ## Hold the gossip to its invariants under random faults: SEEDS=10000 FIRST_SEED=1
	$(ISOBAR) simulate gossip-seeds --seeds $(SEEDS) --first-seed $(FIRST_SEED)

bench-report:  ## Run every benchmark, or ONLY=hub, and rewrite docs/benchmarks.md
	testenv/bench-report $(ONLY)

e2e-clients: build  ## The OpenAI Python client and aiperf, unchanged (installs them into E2E_VENV)
	testenv/e2e-clients $(ISOBAR)

e2e-gateway: build  ## Kill endpoints, clusters, gateways and the hub under load: what is lost, done twice, and felt
	testenv/e2e-gateway $(ISOBAR)

e2e-faults: build  ## Nasty peers, 10,000 idle streams and ten times the load: status codes and memory
	testenv/e2e-faults $(ISOBAR)

soak: build  ## Mixed load, cancels, errors and kills: MINUTES=60; memory, files and what is in flight
	testenv/soak $(ISOBAR) --minutes $(MINUTES)

robustness-report: build  ## Rewrite docs/robustness.md, all four of the above (MINUTES=60 and half an hour more)
	testenv/e2e-clients $(ISOBAR) --report docs/robustness.md
	testenv/e2e-faults $(ISOBAR) --report docs/robustness.md
	testenv/e2e-gateway $(ISOBAR) --report docs/robustness.md
	testenv/soak $(ISOBAR) --minutes $(MINUTES) --report docs/robustness.md

e2e-vllm: build  ## Read a real vLLM: VLLM_SERVE names a program that serves a model on a port
	testenv/e2e-vllm $(ISOBAR)

e2e-edge: build $(PYTHON)  ## curl, h2load and httpx over TLS and HTTP/2, two regions over mutual TLS (apt: nghttp2-client)
	$(PYTHON) -m pip install -q 'httpx[http2]==0.28.1'
	$(PYTHON) testenv/e2e-edge $(ISOBAR)

evaluate: build  ## Rewrite docs/evaluation.md (half an hour; goes on where it was): AZURE=trace.csv MOONCAKE=trace.jsonl
	testenv/evaluate --isobar $(ISOBAR) --jobs $(JOBS) --azure $(AZURE) --mooncake $(MOONCAKE)

clean:  ## Remove what was built
	rm -rf .build .build-demo .build-release .build-core .build-house .build-plugins .build-python .build-evaluate
