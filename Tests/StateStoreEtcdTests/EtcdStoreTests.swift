import FleetModel
import Foundation
import ProcessKit
import StateStore
import Synchronization
import TestKit
import Testing

@testable import StateStoreEtcd

/// What a follower saw last.
private final class Shown: Sendable {
    let value = Mutex<[UInt8]?>(nil)
}

@Suite("The store in etcd", .serialized, .enabled(if: EtcdCluster.isExpected, Comment(rawValue: EtcdCluster.advice)))
struct EtcdStoreTests {
    private static func store(_ cluster: EtcdCluster, prefix: String = "/isobar/") throws -> EtcdStore {
        try EtcdStore(
            EtcdSettings(
                endpoints: try cluster.endpoints.map { try EndpointAddress($0) },
                prefix: prefix,
                patience: .seconds(2)
            )
        )
    }

    /// Runs a store beside a body, once its cluster answers.
    private static func running(_ store: EtcdStore, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await store.run() }
            defer { group.cancelAll() }
            try await eventually("etcd answers") { await store.health().members.contains { $0.isReachable } }
            try await body()
        }
    }

    @Test("keeps the laws of a store")
    func laws() async throws {
        let cluster = try await EtcdCluster()
        try await cluster.run {
            try await Self.running(try Self.store(cluster)) {}
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (place, law) in StoreLaw.all.enumerated() {
                    let store = try Self.store(cluster, prefix: "/law\(place)/")
                    group.addTask {
                        do {
                            try await law.check(running: store)
                        } catch {
                            Issue.record("\(law): \(error)")
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("keeps its connection through more calls than the HTTP/2 handler would take PINGs for")
    func pings() async throws {
        let cluster = try await EtcdCluster()
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                for number in 0..<450 {
                    let outcome = try await store.commit(
                        StoreTransaction([.put(key: "n", value: [UInt8(number % 256)])])
                    )
                    guard case .committed = outcome else {
                        Issue.record("commit \(number) ended as \(outcome)")
                        return
                    }
                }
            }
        }
    }

    @Test("says that a watch's history is gone when etcd has compacted it, and a follower goes on regardless")
    func compacted() async throws {
        let cluster = try await EtcdCluster()
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                for number in 0..<5 as Range<UInt8> {
                    _ = try await store.commit(StoreTransaction([.put(key: "a", value: [number])]))
                }
                let listing = try await store.read(prefix: "a")
                try await store.compact(before: listing.revision)
                let error = await #expect(throws: StoreError.self) {
                    try await store.watch(prefix: "a", after: 1) { _ in }
                }
                #expect(error?.kind == .compacted)
            }
        }
    }

    @Test("lists more keys than one answer of etcd carries, as of one revision")
    func pages() async throws {
        let cluster = try await EtcdCluster()
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                for page in 0..<6 {
                    let puts = (0..<100).map { StoreTransaction.Write.put(key: "k/\(page)-\($0)", value: []) }
                    _ = try await store.commit(StoreTransaction(puts))
                }
                let keys = try await store.list(prefix: "k/").map(\.key)
                #expect(keys.count == 600)
                #expect(keys == keys.sorted())
            }
        }
    }

    @Test("lists more bytes than gRPC takes by default, and refuses a value that etcd does not take")
    func large() async throws {
        let cluster = try await EtcdCluster()
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                let value = [UInt8](repeating: 7, count: 1 << 20)
                for number in 0..<12 {
                    let outcome = try await store.commit(StoreTransaction([.put(key: "k/\(number)", value: value)]))
                    guard case .committed = outcome else {
                        Issue.record("commit \(number) ended as \(outcome)")
                        return
                    }
                }
                #expect(try await store.list(prefix: "k/").reduce(0) { $0 + $1.value.count } == 12 << 20)
                let error = await #expect(throws: StoreError.self) {
                    let tooMuch = [UInt8](repeating: 7, count: 3 << 20)
                    _ = try await store.commit(StoreTransaction([.put(key: "k/large", value: tooMuch)]))
                }
                #expect(error?.reason.contains("1.5 MiB") == true, "\(String(describing: error))")
                #expect(try await store.get("k/large") == nil)
            }
        }
    }

    @Test("leaves a member that hangs, and watches go along")
    func hung() async throws {
        let cluster = try await EtcdCluster(members: 3)
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                func write(_ value: UInt8) async throws {
                    try await eventually("a write is taken", within: .seconds(60)) {
                        if case .committed = try await store.commit(StoreTransaction([.put(key: "a", value: [value])]))
                        {
                            return true
                        }
                        return false
                    }
                }
                try await write(1)
                let shown = Shown()
                await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        await store.follow(prefix: "a") { listing in
                            shown.value.withLock { $0 = listing.entries.first?.value }
                        }
                    }
                    defer { group.cancelAll() }
                    do {
                        try await eventually("the follower sees it") { shown.value.withLock { $0 } == [1] }
                        cluster.members[0].signal(SIGSTOP)
                        defer { cluster.members[0].signal(SIGCONT) }
                        try await write(2)
                        try await eventually("and what was written since", within: .seconds(30)) {
                            shown.value.withLock { $0 } == [2]
                        }
                    } catch {
                        Issue.record("\(error)")
                    }
                }
            }
        }
    }

    @Test("goes on when members die, and says of a write whose answer was lost that it does not know")
    func membersLost() async throws {
        let cluster = try await EtcdCluster(members: 3)
        try await cluster.run {
            let store = try Self.store(cluster)
            try await Self.running(store) {
                try await eventually("a write is taken") {
                    if case .committed = try await store.commit(StoreTransaction([.put(key: "a", value: [1])])) {
                        return true
                    }
                    return false
                }
                cluster.members[0].signal(SIGKILL)
                try await eventually("a write is taken again") {
                    if case .committed = try await store.commit(StoreTransaction([.put(key: "a", value: [2])])) {
                        return true
                    }
                    return false
                }
                #expect(try await store.get("a")?.value == [2])
                let health = await store.health()
                #expect(health.members.map(\.isReachable) == [false, true, true])

                cluster.members[1].signal(SIGKILL)
                try await eventually("a write without a majority is not known") {
                    if case .unknown = try await store.commit(StoreTransaction([.put(key: "a", value: [3])])) {
                        return true
                    }
                    return false
                }
            }
        }
    }
}
