/// A fleet: everything that one certificate authority vouches for.
package struct FleetName: LabelName {
    package static let kind = "fleet"
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

/// What the holder of a certificate may do.
package enum Role: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Publishes the digests of one cluster and shows its samples.
    case agent
    /// Takes digests and demand, and serves plans.
    case hub
    /// Reads plans and samples, and reports the demand of one region.
    case gateway
    /// Applies resources.
    case `operator`

    package var description: String { self.rawValue }

    /// What a certificate of this role names.
    package var nameKind: String {
        switch self {
        case .agent: "cluster"
        case .hub: "hub"
        case .gateway: "region"
        case .operator: "operator"
        }
    }
}

/// Who a program is, as the URI in its certificate says: `isobar://FLEET/ROLE/NAME`.
package struct Identity: Hashable, Sendable, CustomStringConvertible {
    package static let scheme = "isobar://"

    package let fleet: FleetName
    package let role: Role
    /// An agent's cluster, a gateway's region, a hub's or an operator's own name.
    package let name: String

    /// - Throws: ``InvalidName`` unless `name` is a DNS label.
    package init(fleet: FleetName, role: Role, name: String) throws(InvalidName) {
        guard name.isDNSLabel else {
            throw InvalidName(kind: role.nameKind, given: name, rule: LabelRule.text)
        }
        self.fleet = fleet
        self.role = role
        self.name = name
    }

    /// Reads `isobar://FLEET/ROLE/NAME`.
    ///
    /// - Throws: ``InvalidName`` for anything else.
    package init(uri: String) throws(InvalidName) {
        let parts = uri.dropFirst(Self.scheme.count).split(separator: "/", omittingEmptySubsequences: false)
        guard uri.hasPrefix(Self.scheme), parts.count == 3, let role = Role(rawValue: String(parts[1])) else {
            let roles = Role.allCases.map(\.rawValue).joined(separator: ", ")
            throw InvalidName(
                kind: "identity",
                given: uri,
                rule: "use isobar://FLEET/ROLE/NAME with a role of \(roles)"
            )
        }
        try self.init(fleet: try FleetName(String(parts[0])), role: role, name: String(parts[2]))
    }

    package var description: String { "\(Self.scheme)\(self.fleet)/\(self.role)/\(self.name)" }
}

extension FleetName {
    /// The host name that the certificate of every hub of the fleet carries, and no other: by it etcd, which knows
    /// nothing of identities, tells hubs from agents and gateways.
    package var hubsHost: String { "hub.\(self.text).isobar" }
}
