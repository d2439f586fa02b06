package import FleetModel
package import GRPCCore

/// The other end of a link, as its certificate says; the transport puts it into the context of every call.
package struct LinkPeer: ServerContext.TransportSpecific {
    /// Who may call what; a service that is not here may be called by nobody.
    package static let callers: [String: Set<Role>] = [
        Isobar_V1_Registry.descriptor.fullyQualifiedService: [.agent],
        Isobar_V1_Gossip.descriptor.fullyQualifiedService: [.agent, .hub],
        Isobar_V1_Samples.descriptor.fullyQualifiedService: [.gateway],
        Isobar_V1_Plans.descriptor.fullyQualifiedService: [.gateway],
        Isobar_V1_Operators.descriptor.fullyQualifiedService: [.operator],
        Isobar_V1_Replicas.descriptor.fullyQualifiedService: [.hub],
    ]

    package let identity: Identity
    private let onRefusal: @Sendable (String) -> Void

    /// - Parameters:
    ///   - identity: Whose certificate it is.
    ///   - onRefusal: Told why a call was refused for a name that is not the certificate's.
    package init(_ identity: Identity, onRefusal: @escaping @Sendable (String) -> Void = { _ in }) {
        self.identity = identity
        self.onRefusal = onRefusal
    }

    /// Why the peer may not speak for such a name, or `nil` when its certificate is of that name.
    package func refusal(speakingFor name: String) -> String? {
        guard name != self.identity.name else { return nil }
        let kind = self.identity.role.nameKind
        let reason = "the certificate is of \(self.identity) and cannot speak for \(kind) \"\(name.prefix(63))\""
        self.onRefusal(reason)
        return reason
    }
}

extension ServerContext {
    /// The other end; `nil` on a link without identities, which is plain text on loopback.
    package var peer: LinkPeer? { self.transportSpecific as? LinkPeer }

    /// - Throws: `permissionDenied` when the peer's certificate is of another name.
    package func requirePeer(toSpeakFor name: String) throws(RPCError) {
        if let reason = self.peer?.refusal(speakingFor: name) {
            throw RPCError(code: .permissionDenied, message: reason)
        }
    }
}
