package import FleetModel

/// What an `InferencePool` says (`inference.networking.k8s.io/v1`).
package struct PoolSpec: Hashable, Sendable {
    package var matchLabels: [String: String] = [:]
    /// Each is an endpoint of its own on every Pod.
    package var targetPorts: [Int] = []
    package var appProtocol = "http"
    package var endpointPicker: String?
    package var failureMode = "FailClose"

    /// Reads a spec, with everything that is wrong with it.
    package static func read(_ resource: Resource) -> (spec: PoolSpec, problems: [ResourceProblem]) {
        var reader = FieldReader(resource.spec, path: "spec")
        var spec = PoolSpec()
        reader.mapping("selector", required: true) { selector in
            let labels = selector.members("matchLabels", count: 1...64, required: true)
            for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
                guard let text = value.text, text.utf8.count <= 63 else {
                    selector.note("matchLabels.\(key)", "must be a text of at most 63 characters, is \(value.said)")
                    continue
                }
                spec.matchLabels[key] = text
            }
        }
        let ports = reader.mappings("targetPorts", count: 1...8, required: true) { port in
            port.integer("number", in: 1...65_535, required: true)
        }
        for (place, port) in ports.enumerated() {
            guard let port else { continue }
            if spec.targetPorts.contains(port) {
                reader.note("targetPorts[\(place)].number", "must be unique, is \(port) again; remove it")
            }
            spec.targetPorts.append(port)
        }
        spec.appProtocol = reader.choice("appProtocol", of: ["http", "kubernetes.io/h2c"]) ?? spec.appProtocol
        reader.mapping("endpointPickerRef") { picker in
            picker.skip("group")
            let kind = picker.text("kind") ?? "Service"
            spec.endpointPicker = picker.text("name", required: true)
            let port = picker.mapping("port", required: kind == "Service") { port in
                port.integer("number", in: 1...65_535, required: true)
            }
            _ = port
            spec.failureMode = picker.choice("failureMode", of: ["FailOpen", "FailClose"]) ?? spec.failureMode
        }
        reader.finish()
        return (spec, reader.problems)
    }
}

/// What an `InferenceObjective` says (`llm-d.ai/v1alpha2`).
package struct ObjectiveSpec: Hashable, Sendable {
    /// Above zero is premium, below zero is batch.
    package var priority = 0
    /// In the namespace of the objective.
    package var pool: PoolName?

    package var band: Band { Band(priority: self.priority) }

    /// Reads a spec, with everything that is wrong with it.
    package static func read(_ resource: Resource) -> (spec: ObjectiveSpec, problems: [ResourceProblem]) {
        var reader = FieldReader(resource.spec, path: "spec")
        var spec = ObjectiveSpec()
        spec.priority = reader.integer("priority", in: Int(Int32.min)...Int(Int32.max)) ?? 0
        spec.pool = reader.poolReference(required: true, namespace: resource.key.namespace)
        reader.finish()
        return (spec, reader.problems)
    }
}

extension FieldReader {
    /// `poolRef`, as Kubernetes has it: a pool of the same namespace.
    mutating func poolReference(required: Bool, namespace: String) -> PoolName? {
        self.mapping("poolRef", required: required) { reference in
            _ = reference.choice("group", of: ["inference.networking.k8s.io"])
            _ = reference.choice("kind", of: [ResourceKind.pool.rawValue])
            let name = reference.name("name", required: true) { (text) throws(InvalidName) in
                try RegionName(text).text
            }
            return name.map { PoolName(namespace: namespace, name: $0) }
        } ?? nil
    }
}
