import EtcdAPI
package import FleetModel
import Foundation
import GRPCCore
package import StateStore
import WireTransport

/// How to reach an etcd cluster.
package struct EtcdSettings: Sendable {
    /// Its members; each is asked when those before it do not answer.
    package var endpoints: [EndpointAddress]
    /// Before every key, so that several fleets may share one etcd.
    package var prefix: String
    package var security: EtcdSecurity
    /// How long one member may take for one call: more than a round trip to the leader and a synced write.
    package var patience: Duration

    package init(
        endpoints: [EndpointAddress],
        prefix: String = "/isobar/",
        security: EtcdSecurity = .plain,
        patience: Duration = .milliseconds(500)
    ) {
        self.endpoints = endpoints
        self.prefix = prefix
        self.security = security
        self.patience = patience
    }
}

/// The replicated store, for a hub of several replicas: etcd v3, which is Raft.
package final class EtcdStore: StateStore {
    /// Keys in one page of a listing: of the largest values, a page has 48 MiB.
    static let pageLength: Int64 = 32

    let members: EtcdMembers
    private let keys: EtcdKeys

    /// - Throws: ``StoreError`` when there is no endpoint or a certificate cannot be read.
    package init(_ settings: EtcdSettings) throws(StoreError) {
        guard !settings.endpoints.isEmpty else {
            throw StoreError(operation: "open etcd", reason: "no endpoint is named")
        }
        do {
            try settings.security.check()
            self.members = EtcdMembers(
                try settings.endpoints.map { try EtcdMember($0, settings.security) },
                settings.security,
                patience: settings.patience
            )
        } catch {
            throw StoreError(operation: "open etcd", reason: "\(error)")
        }
        self.keys = EtcdKeys(prefix: settings.prefix)
    }

    // MARK: Keys

    package func get(_ key: String) async throws(StoreError) -> StoreEntry? {
        var request = Etcdserverpb_RangeRequest()
        request.key = self.keys.bytes(key)
        let response = try await self.range(request)
        return response.kvs.first.map(self.keys.entry)
    }

    package func read(prefix: String) async throws(StoreError) -> StoreListing {
        var request = Etcdserverpb_RangeRequest()
        request.key = self.keys.bytes(prefix)
        request.rangeEnd = EtcdKeys.end(of: request.key)
        request.limit = Self.pageLength
        request.sortOrder = .ascend
        var listing = StoreListing(entries: [], revision: 0)
        while true {
            let page = try await self.range(request)
            listing.entries += page.kvs.map(self.keys.entry)
            if request.revision == 0 { listing.revision = page.header.revision }
            guard page.more, let last = page.kvs.last else { return listing }
            // The next page is of the same revision, from the key after the last one.
            request.revision = listing.revision
            request.key = last.key + Data([0])
        }
    }

    private func range(_ request: Etcdserverpb_RangeRequest) async throws(StoreError) -> Etcdserverpb_RangeResponse {
        try await self.members.ask("read \(String(decoding: request.key, as: UTF8.self))") { member, options in
            try await member.keys.range(request, options: options)
        }
    }

    /// Asks one member once: a write that is sent again could happen twice, or meet itself and look like a conflict.
    package func commit(_ transaction: StoreTransaction) async throws(StoreError) -> CommitOutcome {
        let place = self.members.preferred
        do {
            let response = try await self.members.all[place].keys.txn(
                self.keys.request(transaction),
                options: self.members.options
            )
            return response.succeeded ? .committed(revision: response.header.revision) : .conflict
        } catch {
            switch self.members.failure(error) {
            case .leaseEnded:
                return .conflict
            case .refused(let reason):
                throw StoreError(operation: "commit", reason: reason)
            case .unclear(let reason):
                if !Task.isCancelled { self.members.leave(place) }
                return .unknown(reason: "\(self.members.all[place].address): \(reason)")
            }
        }
    }

    // MARK: Watches

    /// The watch ends when another member is asked from now on: the one that carries it may hang without a word.
    package func watch(
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws(StoreError) {
        let place = self.members.preferred
        let operation = "watch \(prefix)"
        do {
            try await self.watch(at: place, prefix: prefix, after: revision, take)
            if !Task.isCancelled { throw StoreError(operation: operation, reason: "the stream ended") }
        } catch let error as StoreError {
            throw error
        } catch {
            if Task.isCancelled { return }
            self.members.leave(place)
            throw StoreError(operation: operation, reason: "\(self.members.all[place].address): \(error)")
        }
    }

    private func watch(
        at place: Int,
        prefix: String,
        after revision: Int64,
        _ take: @escaping @Sendable (StoreBatch) async -> Void
    ) async throws {
        var create = Etcdserverpb_WatchRequest()
        create.createRequest.key = self.keys.bytes(prefix)
        create.createRequest.rangeEnd = EtcdKeys.end(of: create.createRequest.key)
        create.createRequest.startRevision = revision + 1
        let (first, members, keys) = (create, self.members, self.keys)
        // The member ends the watch when it has lost the leader, instead of staying silent.
        try await members.all[place].watches.watch(metadata: ["hasleader": "true"], options: members.streamOptions) {
            writer in
            try await writer.write(first)
            // The call ends when this closure returns: it stays until the watch has to move.
            for await _ in members.moved.rings() where members.preferred != place { return }
        } onResponse: { response in
            for try await message in response.messages {
                if message.canceled {
                    throw StoreError(
                        operation: "watch \(prefix)",
                        reason: message.compactRevision > 0
                            ? "changes before revision \(message.compactRevision) are no longer kept"
                            : "etcd ended it: \(message.cancelReason)",
                        kind: message.compactRevision > 0 ? .compacted : .unavailable
                    )
                }
                for batch in keys.batches(message.events) { await take(batch) }
            }
        }
    }

    // MARK: Leases

    package func grantLease(timeToLive: Duration) async throws(StoreError) -> StoreLease {
        var request = Etcdserverpb_LeaseGrantRequest()
        let (seconds, rest) = timeToLive.components
        request.ttl = seconds + (rest > 0 ? 1 : 0)
        // A grant that is asked for twice leaves one that nobody knows, which ends by itself.
        let response = try await self.members.ask("grant a lease") { [request] member, options in
            try await member.leases.leaseGrant(request, options: options)
        }
        return StoreLease(id: response.id, timeToLive: .seconds(response.ttl))
    }

    package func renewLease(_ lease: StoreLease.ID) async throws(StoreError) -> StoreLease? {
        var request = Etcdserverpb_LeaseKeepAliveRequest()
        request.id = lease
        let left = try await self.members.ask("renew a lease") { [request] member, options in
            try await member.leases.leaseKeepAlive(options: options) { writer in
                try await writer.write(request)
            } onResponse: { response in
                for try await message in response.messages { return message.ttl }
                throw RPCError(code: .unavailable, message: "no answer")
            }
        }
        return left > 0 ? StoreLease(id: lease, timeToLive: .seconds(left)) : nil
    }

    package func endLease(_ lease: StoreLease.ID) async throws(StoreError) {
        var request = Etcdserverpb_LeaseRevokeRequest()
        request.id = lease
        try await self.members.ask("end a lease") { [request] member, options in
            do {
                _ = try await member.leases.leaseRevoke(request, options: options)
            } catch let error as RPCError where error.code == .notFound {
                // It has ended already.
            }
        }
    }

    // MARK: Health

    package func health() async -> StoreHealth {
        let options = self.members.options
        let members = await withTaskGroup(of: (Int, StoreHealth.Member).self) { group in
            for (place, member) in self.members.all.enumerated() {
                group.addTask {
                    let status = try? await member.maintenance.status(Etcdserverpb_StatusRequest(), options: options)
                    return (
                        place,
                        StoreHealth.Member(
                            name: member.address.description,
                            isReachable: status != nil,
                            isLeader: status.map { $0.leader == $0.header.memberID } ?? false,
                            size: status?.dbSize,
                            used: status?.dbSizeInUse,
                            version: status?.version,
                            fault: status.flatMap { $0.errors.isEmpty ? nil : $0.errors.joined(separator: ", ") }
                        )
                    )
                }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
        return StoreHealth(kind: "etcd", members: members)
    }

    package func compact(before revision: Int64) async throws(StoreError) {
        var request = Etcdserverpb_CompactionRequest()
        request.revision = revision
        _ = try await self.members.ask("compact") { [request] member, options in
            do {
                _ = try await member.keys.compact(request, options: options)
            } catch let error as RPCError where error.code == .outOfRange && error.message.contains("compacted") {
                // Another replica, or etcd itself, was faster.
            }
        }
    }

    package func run() async {
        await withDiscardingTaskGroup { group in
            // It throws when it is asked to run twice, and returns when cancelled.
            for member in self.members.all { group.addTask { try? await member.client.keepConnections() } }
        }
    }
}
