package import FleetModel
package import Leadership
package import StateStore

/// A hub replica, as its key in the store says.
package struct ReplicaMember: Codable, Hashable, Sendable {
    package var name: String
    /// Where other replicas reach it.
    package var address: String

    package init(name: String, address: String) {
        self.name = name
        self.address = address
    }
}

/// The keys of the election: what ``Election`` asks for, done in the store.
package struct Ballot: Sendable {
    package static let leaderKey = "leader"
    static let membersPrefix = "members/"

    let store: any StateStore
    let member: ReplicaMember
    let now: @Sendable () -> Seconds

    /// - Parameters:
    ///   - store: Where the keys are.
    ///   - member: This replica.
    ///   - now: Its clock.
    package init(store: any StateStore, member: ReplicaMember, now: @escaping @Sendable () -> Seconds) {
        self.store = store
        self.member = member
        self.now = now
    }

    /// Does what an effect asks for.
    ///
    /// - Returns: The event that answers it.
    /// - Throws: ``StoreError`` when the store did not do it, or nobody knows.
    package func perform(_ effect: Election.Effect) async throws(StoreError) -> Election.Event {
        switch effect {
        case .grant(let timeToLive):
            let askedAt = self.now()
            let lease = try await self.store.grantLease(timeToLive: .seconds(timeToLive))
            return .granted(lease: lease.id, timeToLive: lease.timeToLive.inSeconds, askedAt: askedAt)
        case .renew(let id):
            let askedAt = self.now()
            guard let lease = try await self.store.renewLease(id) else { return .ended(lease: id) }
            return .renewed(lease: id, timeToLive: lease.timeToLive.inSeconds, askedAt: askedAt)
        case .campaign(let lease):
            let outcome = try await self.store.commit(
                StoreTransaction(
                    when: [.absent(key: Self.leaderKey)],
                    [.put(key: Self.leaderKey, value: Array(self.member.name.utf8), lease: lease)]
                )
            )
            switch outcome {
            case .committed(let revision):
                let leader = Leader(epoch: UInt64(revision), lease: lease, name: self.member.name)
                return .seen(leader, revision: revision)
            case .conflict:
                return try await self.look()
            case .unknown(let reason):
                throw StoreError(operation: "campaign", reason: reason)
            }
        case .look:
            return try await self.look()
        case .end(let lease):
            try await self.store.endLease(lease)
            return .ended(lease: lease)
        case .lead, .stepDown:
            return .tick
        }
    }

    private func look() async throws(StoreError) -> Election.Event {
        Self.seen(try await self.store.read(prefix: Self.leaderKey))
    }

    /// Who stands at the leader key in a picture of the store.
    static func seen(_ listing: StoreListing) -> Election.Event {
        let entry = listing.entries.first { $0.key == self.leaderKey }
        let leader = entry.map { entry in
            Leader(
                epoch: UInt64(entry.created),
                lease: entry.lease ?? 0,
                name: String(decoding: entry.value, as: UTF8.self)
            )
        }
        return .seen(leader, revision: listing.revision)
    }

    /// Makes this replica known for as long as the lease lasts.
    func register(under lease: StoreLease.ID) async throws(StoreError) {
        let key = Self.membersPrefix + self.member.name
        _ = try await self.store.commit(
            StoreTransaction([.put(key: key, value: Array(self.member.address.utf8), lease: lease)])
        )
    }

    /// The replicas in a picture of their keys, sorted by name.
    static func members(_ listing: StoreListing) -> [ReplicaMember] {
        listing.entries.map { entry in
            ReplicaMember(
                name: String(entry.key.dropFirst(self.membersPrefix.count)),
                address: String(decoding: entry.value, as: UTF8.self)
            )
        }
    }
}

extension Duration {
    /// As the rooms that think count it.
    var inSeconds: Seconds { Double(self.components.seconds) + Double(self.components.attoseconds) * 1e-18 }
}
