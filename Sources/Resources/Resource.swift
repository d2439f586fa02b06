import FleetModel

/// One resource as an operator wrote it: identity, labels, annotations and the spec to the letter.
package struct Resource: Hashable, Sendable {
    package let key: ResourceKey
    package var apiVersion: String
    package var labels: [String: String]
    package var annotations: [String: String]
    package var spec: ResourceValue
    /// The revision that this was read at; `nil` when the writer does not mind what stands there.
    package var resourceVersion: Int64?

    package init(
        key: ResourceKey,
        apiVersion: String? = nil,
        labels: [String: String] = [:],
        annotations: [String: String] = [:],
        spec: ResourceValue,
        resourceVersion: Int64? = nil
    ) {
        self.key = key
        self.apiVersion = apiVersion ?? key.kind.apiVersions[0]
        self.labels = labels
        self.annotations = annotations
        self.spec = spec
        self.resourceVersion = resourceVersion
    }

    /// A manifest with problems.
    package struct Refused: Error, Hashable, CustomStringConvertible {
        /// What it is, as far as that can be told, such as `InferencePool default/llama`.
        package let name: String
        package let problems: [ResourceProblem]

        package var description: String {
            self.problems.map { self.name.isEmpty ? "\($0)" : "\(self.name): \($0)" }.joined(separator: "\n")
        }
    }

    /// Reads and checks a manifest in Kubernetes' shape.
    ///
    /// `status` and what an API server adds to `metadata` are left out, so that `kubectl get -o yaml` is taken as it is.
    ///
    /// - Throws: ``Refused`` with everything that is wrong.
    package init(manifest: ResourceValue) throws(Refused) {
        var reader = FieldReader(manifest, path: "")
        reader.skip("status")
        guard let kindWord = reader.text("kind", required: true) else {
            throw Refused(name: "", problems: reader.problems)
        }
        guard let kind = ResourceKind(rawValue: kindWord) else {
            let known = FieldReader.either(ResourceKind.allCases.map(\.rawValue))
            reader.note("kind", "must be \(known), is \"\(kindWord)\"")
            throw Refused(name: "", problems: reader.problems)
        }
        let version = reader.choice("apiVersion", of: kind.apiVersions, required: true)
        let metadata = reader.mapping("metadata", required: true) { Metadata(&$0, kind: kind) }
        guard let key = metadata?.key else { throw Refused(name: kindWord, problems: reader.problems) }
        self.init(
            key: key,
            apiVersion: version,
            labels: metadata?.labels ?? [:],
            annotations: metadata?.annotations ?? [:],
            spec: manifest["spec"] ?? .fields([:]),
            resourceVersion: metadata?.resourceVersion
        )
        reader.skip("spec")
        reader.finish()
        let problems = reader.problems + self.specProblems
        guard problems.isEmpty else { throw Refused(name: key.description, problems: problems) }
    }

    /// What is wrong with the spec.
    package var specProblems: [ResourceProblem] {
        switch self.key.kind {
        case .pool: PoolSpec.read(self).problems
        case .objective: ObjectiveSpec.read(self).problems
        case .policy: RoutingPolicySpec.read(self).problems
        case .drain: DrainSpec.read(self).problems
        case .cluster: ClusterSpec.read(self).problems
        }
    }

    /// The whole manifest, as it would be applied again.
    package var manifest: ResourceValue {
        var metadata: [String: ResourceValue] = ["name": .text(self.key.name)]
        if self.key.kind.isNamespaced { metadata["namespace"] = .text(self.key.namespace) }
        if !self.labels.isEmpty { metadata["labels"] = .fields(self.labels.mapValues { .text($0) }) }
        if !self.annotations.isEmpty { metadata["annotations"] = .fields(self.annotations.mapValues { .text($0) }) }
        if let version = self.resourceVersion { metadata["resourceVersion"] = .text("\(version)") }
        return .fields([
            "apiVersion": .text(self.apiVersion), "kind": .text(self.key.kind.rawValue),
            "metadata": .fields(metadata), "spec": self.spec,
        ])
    }

    /// Whether both would have the same effect: everything but the revision.
    package func isSame(as other: Resource) -> Bool {
        var other = other
        other.resourceVersion = self.resourceVersion
        return self == other
    }
}

/// `metadata`, with what an API server adds left out.
private struct Metadata {
    let key: ResourceKey?
    let labels: [String: String]
    let annotations: [String: String]
    let resourceVersion: Int64?

    init(_ reader: inout FieldReader, kind: ResourceKind) {
        reader.skip(
            "uid",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
            "ownerReferences",
            "finalizers",
            "selfLink"
        )
        if !kind.isNamespaced, reader.has("namespace") {
            reader.note("namespace", "must not be there: a \(kind.rawValue) has no namespace; remove it")
        }
        reader.skip("namespace")
        let namespace =
            kind.isNamespaced
            ? reader.name("namespace") { (text) throws(InvalidName) in try RegionName(text).text } : nil
        let name = reader.name("name", required: true) { (text) throws(InvalidName) in try RegionName(text).text }
        self.key = name.flatMap { try? ResourceKey(kind, namespace: namespace ?? "", name: $0) }
        self.labels = Self.texts("labels", &reader)
        self.annotations = Self.texts("annotations", &reader)
            // What kubectl keeps for itself would only repeat the spec.
            .filter { $0.key != "kubectl.kubernetes.io/last-applied-configuration" }
        if let version = reader.text("resourceVersion") {
            self.resourceVersion = Int64(version)
            if self.resourceVersion == nil {
                reader.note("resourceVersion", "must be one that `isobar get` showed, is \"\(version)\"; or remove it")
            }
        } else {
            self.resourceVersion = nil
        }
    }

    private static func texts(_ name: String, _ reader: inout FieldReader) -> [String: String] {
        var texts: [String: String] = [:]
        for (key, value) in reader.members(name, count: 0...64).sorted(by: { $0.key < $1.key }) {
            guard let text = value.text else {
                reader.note("\(name).\(key)", "must be a text, is \(value.said); put it in quotes")
                continue
            }
            texts[key] = text
        }
        return texts
    }
}
