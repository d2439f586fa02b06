package import ArgumentParser
import ConfigurationFiles
import FleetModel
import Foundation
import Logging
import OperatorLink
import ProgramShell
import StateStore
import StateStoreSQLite
import WireProtocol
import WireTransport

/// `isobar restore`: a new store from a backup, before the hub is started.
package struct RestoreCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make a hub's store from a backup.",
        discussion: """
            Opens the store that the hub's file names and writes the backup into it. The hub that is started on it \
            leads in a greater epoch than any before the backup, so gateways take its plans.

            The hubs must not run, except with managedEtcd, where they run the store: then none of them leads while \
            the backup is written, and each is restarted after it.

            Exit codes: 0 well, 1 the store is not empty or cannot be written, 65 a bad file.
            """
    )

    @Option(help: ArgumentHelp("The hub's YAML file.", valueName: "file"))
    var config: String
    @Option(name: .customLong("from"), help: ArgumentHelp("The backup.", valueName: "file"))
    var backup: String
    @Flag(help: "Replace what the store holds.")
    var replace = false
    @Option(
        help: ArgumentHelp(
            "The greatest epoch that a gateway may hold, when hubs were started after the backup was made.",
            valueName: "epoch"
        )
    )
    var aboveEpoch: UInt64 = 0

    package init() {}

    package func run() async throws {
        try await Failures.reporting("restore") {
            let configuration = try HubConfiguration(file: self.config)
            let backup: Isobar_V1_BackupFile
            do {
                backup = try BackupBytes.decode([UInt8](Data(contentsOf: URL(fileURLWithPath: self.backup))))
            } catch let error as BackupBytes.Unreadable {
                throw ConfigurationError(place: self.backup, field: "", reason: error.reason)
            } catch {
                throw ConfigurationError(place: self.backup, field: "", reason: "cannot be read")
            }
            let isManaged = configuration.etcd.managed != nil
            let links =
                isManaged
                ? try configuration.tls?.credentials(of: .hub, named: nil, logger: Logger(label: "isobar.restore"))
                : nil
            let store = try HubCommand.open(configuration, links: links)
            let epoch = max(backup.epoch, self.aboveEpoch)
            let count = try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await store.run() }
                if let links { group.addTask { try await links.run() } }
                defer { group.cancelAll() }
                let restoration = Restoration(store: store)
                return try await restoration.leading {
                    try await restoration.write(backup, above: epoch, replacing: self.replace)
                }
            }
            let place = configuration.store == .etcd ? "etcd" : configuration.state ?? ""
            print("\(place): \(count) keys; the next hub leads above epoch \(epoch)")
            if isManaged { print("next: restart every hub, one after the other") }
        }
    }
}

/// Writes a backup into a store.
struct Restoration {
    let store: any StateStore

    struct NotEmpty: Error, CustomStringConvertible {
        let keys: Int
        var description: String {
            "the store holds \(self.keys) keys already; name a new one in the hub's file, or give --replace"
        }
    }

    /// What belongs to a running hub and not to the state.
    private static func isTransient(_ key: String) -> Bool {
        [Ballot.leaderKey, EpochFloor.key].contains(key) || key.hasPrefix(Ballot.membersPrefix)
    }

    /// Leads while a body runs, so that no hub does: those that run the store themselves cannot be stopped meanwhile,
    /// and one that runs by mistake on a SQLite file loses it, and ends.
    ///
    /// - Throws: ``StoreError``, or what the body throws.
    func leading<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        // Longer than any restoration takes; it is given back at the end.
        let lease = try await self.store.grantLease(timeToLive: .seconds(60))
        let own = StoreTransaction(
            when: [.absent(key: Ballot.leaderKey)],
            [.put(key: Ballot.leaderKey, value: Array("restore".utf8), lease: lease.id)]
        )
        // Whoever leads loses its key, and may be faster to put another one there.
        for _ in 0..<50 {
            _ = try await self.store.commit(StoreTransaction([.delete(key: Ballot.leaderKey)]))
            guard case .committed = try await self.store.commit(own) else { continue }
            let value = try await body()
            try await self.store.endLease(lease.id)
            return value
        }
        throw StoreError(operation: "restore", reason: "hubs lead all the time; try again")
    }

    /// - Returns: How many keys were written.
    func write(_ backup: Isobar_V1_BackupFile, above epoch: UInt64, replacing: Bool) async throws -> Int {
        // A store that hubs run holds what makes them known, and nothing else when it is new.
        let held = try await self.store.list(prefix: "").map(\.key).filter { !Self.isTransient($0) }
        guard held.isEmpty || replacing else { throw NotEmpty(keys: held.count) }
        var writes = held.map { StoreTransaction.Write.delete(key: $0) }
        try await self.commit(&writes)
        // Incarnations go back to what they were, so keys may not be the same again: the first hub makes a new secret.
        let entries = backup.entries.filter { !Self.isTransient($0.key) && $0.key != FrameSecret.key }
        writes = entries.map { .put(key: $0.key, value: [UInt8]($0.value)) }
        writes.append(.put(key: EpochFloor.key, value: StoredNumber.bytes(epoch)))
        try await self.commit(&writes)
        return entries.count
    }

    /// In portions: a transaction of etcd has at most 128 writes, and 1.5 MiB.
    private func commit(_ writes: inout [StoreTransaction.Write]) async throws {
        while !writes.isEmpty {
            var bytes = 0
            let fitting = writes.prefix(32).prefix { write in
                if case .put(let key, let value, _) = write { bytes += key.utf8.count + value.count }
                return bytes <= 1 << 20
            }
            let portion = Array(writes.prefix(max(1, fitting.count)))
            writes.removeFirst(portion.count)
            guard case .committed = try await self.store.commit(StoreTransaction(portion)) else {
                throw StoreError(
                    operation: "restore",
                    reason: "a write was not confirmed; restore again with --replace"
                )
            }
        }
    }
}

/// Where a restored store's epochs begin: the fleet may hold plans of greater epochs than a new store would give.
enum EpochFloor {
    static let key = "epoch-floor"

    static func read(from store: any StateStore) async throws -> UInt64 {
        try StoredNumber.read(try await store.get(self.key), key: self.key)
    }
}
