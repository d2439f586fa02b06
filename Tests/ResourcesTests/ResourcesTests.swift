import FleetModel
import Resources
import Testing

@Suite("Manifests")
struct ManifestTests {
    static func pool(_ spec: [String: ResourceValue] = [:], metadata: [String: ResourceValue] = [:]) -> ResourceValue {
        let ports: ResourceValue = .list([.fields(["number": .number(8_000)])])
        let selector: ResourceValue = .fields(["matchLabels": .fields(["app": .text("vllm")])])
        return .fields([
            "apiVersion": .text("inference.networking.k8s.io/v1"), "kind": .text("InferencePool"),
            "metadata": .fields(["name": .text("llama")].merging(metadata) { $1 }),
            "spec": .fields(["selector": selector, "targetPorts": ports].merging(spec) { $1 }),
        ])
    }

    private static func problems(_ manifest: ResourceValue) -> [String] {
        do {
            _ = try Resource(manifest: manifest)
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }

    @Test("a pool as kubectl prints it is taken, without what the API server added")
    func fromKubernetes() throws {
        var manifest = Self.pool(
            ["endpointPickerRef": .fields(["name": .text("epp"), "port": .fields(["number": .number(9_002)])])],
            metadata: [
                "namespace": .text("serving"), "uid": .text("x"), "resourceVersion": .text("12"),
                "creationTimestamp": .text("2026-01-01T00:00:00Z"), "managedFields": .list([]),
                "annotations": .fields([
                    "kubectl.kubernetes.io/last-applied-configuration": .text("{}"), "team": .text("a"),
                ]),
            ]
        )
        guard case .fields(var fields) = manifest else { return }
        fields["status"] = .fields(["parents": .list([])])
        manifest = .fields(fields)
        let resource = try Resource(manifest: manifest)
        #expect(resource.key.description == "InferencePool serving/llama")
        #expect(resource.annotations == ["team": "a"])
        #expect(resource.resourceVersion == 12)
        #expect(PoolSpec.read(resource).spec.targetPorts == [8_000])
        #expect(try Resource(manifest: resource.manifest) == resource)
    }

    @Test("what is wrong is named with its path and the fix, all of it at once")
    func wrong() {
        #expect(
            Self.problems(
                Self.pool([
                    "targetPorts": .list([.fields(["number": .number(0)]), .fields(["numbr": .number(1)])]),
                    "appProtocol": .text("h3"),
                ])
            ) == [
                "spec.targetPorts[0].number: must be 1…65535, is 0",
                "spec.targetPorts[1].number: is missing; add it",
                "spec.targetPorts[1].numbr: is unknown; known here: number",
                "spec.appProtocol: must be http or kubernetes.io/h2c, is \"h3\"",
            ]
        )
        #expect(
            Self.problems(
                Self.pool(["targetPorts": .list(Array(repeating: .fields(["number": .number(1)]), count: 2))])
            )
                == ["spec.targetPorts[1].number: must be unique, is 1 again; remove it"]
        )
        #expect(
            Self.problems(Self.pool(metadata: ["name": .text("Llama")])).first?.hasPrefix("metadata.name: ") == true
        )
        #expect(Self.problems(.list([])) == ["must be a mapping, is a list", "kind: is missing; add it"])
        #expect(
            Self.problems(.fields(["kind": .text("Pod")])).first
                == "kind: must be InferencePool, InferenceObjective, RoutingPolicy, Drain or Cluster, is \"Pod\""
        )
    }

    @Test(
        "an objective of either group is taken, and its priority is its band",
        arguments: [
            ("llm-d.ai/v1alpha2", 10, Band.premium), ("inference.networking.x-k8s.io/v1alpha2", -1, .batch),
            ("llm-d.ai/v1alpha2", 0, .standard),
        ]
    )
    func objective(version: String, priority: Int, band: Band) throws {
        let resource = try Resource(
            manifest: .fields([
                "apiVersion": .text(version), "kind": .text("InferenceObjective"),
                "metadata": .fields(["name": .text("chat"), "namespace": .text("serving")]),
                "spec": .fields([
                    "priority": .number(Double(priority)), "poolRef": .fields(["name": .text("llama")]),
                ]),
            ])
        )
        let settings = FleetSettings(ResourceSet([resource]))
        #expect(settings.objectives == [PoolName(namespace: "serving", name: "llama"): ["chat": band]])
    }

    @Test("settings are within their bounds, one number or one a band")
    func policy() throws {
        func policy(_ spec: [String: ResourceValue]) -> ResourceValue {
            .fields([
                "apiVersion": .text("isobar.dev/v1alpha1"), "kind": .text("RoutingPolicy"),
                "metadata": .fields(["name": .text("p")]), "spec": .fields(spec),
            ])
        }
        let resource = try Resource(
            manifest: policy([
                "floor": .number(0.01), "maxRemoteShare": .fields(["batch": .number(0.5)]),
                "residency": .fields(["europe-west": .list([.text("europe-west")])]),
                "egress": .fields(["us-east": .fields(["europe-west": .number(0.02)])]),
            ])
        )
        let spec = RoutingPolicySpec.read(resource).spec
        #expect(spec.floor == [.premium: 0.01, .standard: 0.01, .batch: 0.01])
        #expect(spec.maxRemoteShare == [.batch: 0.5])
        #expect(spec.residency == [try RegionName("europe-west"): [try RegionName("europe-west")]])
        #expect(spec.egress[try RegionName("us-east")] == [try RegionName("europe-west"): 0.02])
        #expect(
            Self.problems(
                policy([
                    "floor": .number(7), "maxRemoteShare": .fields(["gold": .number(1)]),
                    "residency": .fields(["Europe": .list([]), "us-east": .list([.number(1)])]),
                    "egress": .fields(["us-east": .fields(["europe-west": .number(-1)])]),
                ])
            ) == [
                "spec.floor: must be 0…0.2, is 7",
                "spec.maxRemoteShare.gold: is no band; use premium, standard or batch",
                "spec.residency.Europe: use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a "
                    + "letter or digit",
                "spec.residency.us-east[0]: must be a text, is 1",
                "spec.egress.us-east.europe-west: must be 0…3600, is -1",
            ]
        )
    }

    @Test("a drain names a cluster or a region, and not both")
    func drain() throws {
        func drain(_ spec: [String: ResourceValue]) -> ResourceValue {
            .fields([
                "apiVersion": .text("isobar.dev/v1alpha1"), "kind": .text("Drain"),
                "metadata": .fields(["name": .text("d")]), "spec": .fields(spec),
            ])
        }
        #expect(Self.problems(drain([:])) == ["spec.cluster: must be given, or else region: exactly one of the two"])
        let both: [String: ResourceValue] = ["cluster": .text("a"), "region": .text("b")]
        #expect(Self.problems(drain(both)).count == 1)
        let one = try Resource(manifest: drain(["region": .text("us-east"), "pool": .text("llama")]))
        let settings = FleetSettings(ResourceSet([one]))
        let (a, east) = (try ClusterName("a"), try RegionName("us-east"))
        #expect(settings.drain(of: a, in: east, pool: try PoolName("llama"))?.spec.state == .draining)
        #expect(settings.drain(of: a, in: east, pool: try PoolName("qwen")) == nil)
        #expect(settings.drain(of: a, in: try RegionName("asia"), pool: try PoolName("llama")) == nil)
    }

    @Test("two policies for one pool cannot stand beside each other; the narrower of two targets counts last")
    func policies() throws {
        func policy(_ name: String, _ pool: String?) throws -> Resource {
            let reference = pool.map { ["poolRef": ResourceValue.fields(["name": .text($0)])] } ?? [:]
            return Resource(key: try ResourceKey(.policy, name: name), spec: .fields(reference))
        }
        let fine = ResourceSet([try policy("a", "llama"), try policy("b", nil), try policy("c", "qwen")])
        #expect(fine.conflicts.isEmpty)
        let names = FleetSettings(fine).policies(of: try PoolName("llama")).map(\.key.name)
        #expect(names == ["b", "a"])
        let clash = ResourceSet([try policy("a", "llama"), try policy("b", "llama")])
        #expect(clash.conflicts.map(\.key.name) == ["b"])
        #expect(clash.conflicts.first?.problem.reason.contains("RoutingPolicy default/a") == true)
    }

    @Test("a difference is told by field")
    func difference() throws {
        let before = try Resource(manifest: Self.pool())
        let ports: ResourceValue = .list([.fields(["number": .number(8_001)]), .fields(["number": .number(8_002)])])
        let after = try Resource(manifest: Self.pool(["targetPorts": ports]))
        let differences = ResourceDifference.between(before, after)
        #expect(differences.map(\.path) == ["spec.targetPorts[0].number", "spec.targetPorts[1].number"])
        #expect(differences.map(\.before) == [.number(8_000), nil])
        #expect(ResourceDifference.between(before, before).isEmpty)
        let new = ResourceDifference.between(nil, before).map(\.path)
        #expect(new.contains("metadata.name") && new.contains("spec.targetPorts[0].number"))
    }
}
