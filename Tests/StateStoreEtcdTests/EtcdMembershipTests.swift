import EtcdCare
import FleetModel
import ProcessKit
import StateStore
import TestKit
import Testing

@testable import StateStoreEtcd

@Suite(
    "etcd's members",
    .serialized,
    .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice))
)
struct EtcdMembershipTests {
    private static func running(_ cluster: EtcdCluster, _ body: (EtcdStore) async throws -> Void) async throws {
        let endpoints = try cluster.endpoints.map { try EndpointAddress($0) }
        let store = try EtcdStore(EtcdSettings(endpoints: endpoints, patience: .seconds(2)))
        try await cluster.run {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await store.run() }
                defer { group.cancelAll() }
                try await eventually("all members follow one leader", within: .seconds(60)) {
                    let standings = await store.standings().compactMap(\.self)
                    return standings.count == endpoints.count && Set(standings.map(\.leader)).count == 1
                        && standings[0].leader != 0
                }
                try await body(store)
            }
        }
    }

    /// Writes a key again and again: what it was before stays until it is compacted.
    private static func churn(_ store: EtcdStore, mebibytes: Int) async throws {
        for number in 0..<mebibytes {
            let value = [UInt8](repeating: UInt8(number % 256), count: 1 << 20)
            guard case .committed = try await store.commit(StoreTransaction([.put(key: "a", value: value)])) else {
                throw StoreError(operation: "churn", reason: "write \(number) was not taken")
            }
        }
    }

    @Test("are known by name, are removed and added, and hand over to each other")
    func members() async throws {
        try await Self.running(try await EtcdCluster(members: 3)) { store in
            let standings = await store.standings().compactMap(\.self)
            let members = try #require(await store.members(asking: standings[0].address))
            #expect(members.map(\.name).sorted() == ["m0", "m1", "m2"])
            #expect(members.allSatisfy { !$0.clients.isEmpty })

            let leader = try #require(standings.first { $0.id == $0.leader })
            let next = try #require(standings.first { $0.id != leader.id })
            try await store.perform(.moveLeader(from: leader.address, to: next.id))
            try await eventually("the other one leads") {
                await store.standings().compactMap(\.self).allSatisfy { $0.leader == next.id }
            }

            let gone = try #require(members.first { $0.id == leader.id })
            try await eventually("members that have just met are not parted", within: .seconds(60)) {
                (try? await store.remove(member: gone.id)) != nil
            }
            try await store.remove(member: gone.id)
            let rest = try #require(await store.members(asking: next.address))
            #expect(!rest.contains { $0.id == gone.id })
            try await eventually("it is added anew", within: .seconds(60)) {
                (try? await store.add(peer: gone.peers[0])) != nil
            }
            let added = try #require(await store.members(asking: next.address)?.first { $0.peers == gone.peers })
            #expect(added.id != gone.id && added.name.isEmpty && added.clients.isEmpty)
        }
    }

    @Test("a full one refuses writes and says why; compacted and tidied it takes them again")
    func full() async throws {
        let cluster = try await EtcdCluster(options: ["--quota-backend-bytes", "\(16 << 20)"])
        try await Self.running(cluster) { store in
            let error = await #expect(throws: StoreError.self) { try await Self.churn(store, mebibytes: 40) }
            #expect(error?.reason.contains("database space exceeded") == true, "\(String(describing: error))")
            #expect(await store.health().members[0].fault?.contains("NOSPACE") == true)

            let revision = try await store.read(prefix: "a").revision
            try await store.compact(before: revision)
            try await store.compact(before: revision)
            var housekeeping = Housekeeping(quota: 16 << 20)
            var now = 0.0
            try await eventually("it takes writes again", within: .seconds(60)) {
                now += Housekeeping.pause
                if let step = housekeeping.next(await store.standings(), now: now) { try await store.perform(step) }
                return await store.health().members[0].fault == nil
            }
            try await Self.churn(store, mebibytes: 1)
        }
    }
}
