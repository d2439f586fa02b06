package import FleetModel

/// What operators may apply.
///
/// The first two are Kubernetes' own, field by field: `InferencePool` of the Gateway API Inference Extension and
/// `InferenceObjective` of llm-d; the others have the same shape.
package enum ResourceKind: String, Hashable, Sendable, CaseIterable, Comparable {
    case pool = "InferencePool"
    case objective = "InferenceObjective"
    case policy = "RoutingPolicy"
    case drain = "Drain"
    case cluster = "Cluster"

    /// The group and version of the kinds that are ours.
    package static let ownVersion = "isobar.dev/v1alpha1"

    /// What `apiVersion` may say; the first is what is written.
    package var apiVersions: [String] {
        switch self {
        case .pool: ["inference.networking.k8s.io/v1"]
        case .objective: ["llm-d.ai/v1alpha2", "inference.networking.x-k8s.io/v1alpha2"]
        case .policy, .drain, .cluster: [Self.ownVersion]
        }
    }

    /// Whether names of this kind are within a namespace.
    package var isNamespaced: Bool {
        switch self {
        case .pool, .objective, .policy: true
        case .drain, .cluster: false
        }
    }

    /// The plural in lower case, as in the store and on the command line.
    package var plural: String {
        switch self {
        case .policy: "routingpolicies"
        default: "\(self.rawValue.lowercased())s"
        }
    }

    /// What an operator may call it on the command line.
    package var words: [String] {
        let short =
            switch self {
            case .pool: ["pool", "pools", "infpool"]
            case .objective: ["objective", "objectives", "infobj"]
            case .policy: ["policy", "policies"]
            case .drain, .cluster: [] as [String]
            }
        return short + [self.rawValue.lowercased(), self.plural]
    }

    /// The kind that a word on the command line means.
    package init?(word: String) {
        let word = word.lowercased()
        guard let kind = Self.allCases.first(where: { $0.words.contains(word) }) else { return nil }
        self = kind
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rank < rhs.rank }

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// Names one resource for ever.
package struct ResourceKey: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let kind: ResourceKind
    /// Empty for a kind without namespaces.
    package let namespace: String
    package let name: String

    /// - Throws: ``InvalidName`` unless namespace and name are DNS labels.
    package init(_ kind: ResourceKind, namespace: String = "", name: String) throws(InvalidName) {
        self.kind = kind
        self.namespace = kind.isNamespaced ? (namespace.isEmpty ? "default" : namespace) : ""
        self.name = name
        if kind.isNamespaced { _ = try RegionName(self.namespace) }
        _ = try RegionName(name)
    }

    /// Reads `namespace/name`, or `name` alone.
    package init(_ kind: ResourceKind, _ text: String, namespace: String = "") throws(InvalidName) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 1 || (parts.count == 2 && kind.isNamespaced) else {
            throw InvalidName(
                kind: kind.rawValue,
                given: text,
                rule: kind.isNamespaced ? "use name or namespace/name" : "use a name without a namespace"
            )
        }
        try self.init(kind, namespace: parts.count == 2 ? parts[0] : namespace, name: parts[parts.count - 1])
    }

    /// As in `default/llama`, or `us-east-a` for a kind without namespaces.
    package var path: String { self.namespace.isEmpty ? self.name : "\(self.namespace)/\(self.name)" }

    /// As in `InferencePool default/llama`.
    package var description: String { "\(self.kind.rawValue) \(self.path)" }

    package static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.kind, lhs.namespace, lhs.name) < (rhs.kind, rhs.namespace, rhs.name)
    }
}
