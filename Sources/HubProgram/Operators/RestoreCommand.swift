package import ArgumentParser
import ConfigurationFiles
import Foundation
import OperatorLink
import ProgramShell
import StateStore
import StateStoreSQLite
import WireProtocol

/// `isobar restore`: a new store from a backup, before the hub is started.
package struct RestoreCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make a hub's store from a backup; the hub must not run.",
        discussion: """
            Opens the store that the hub's file names and writes the backup into it. The hub that is started on it \
            leads in a greater epoch than any before the backup, so gateways take its plans.

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
            let store = try SQLiteStore(path: configuration.state)
            let epoch = max(backup.epoch, self.aboveEpoch)
            let count = try await Restoration(store: store).write(backup, above: epoch, replacing: self.replace)
            print("\(configuration.state): \(count) keys; the next hub leads above epoch \(epoch)")
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
    private static let transient = ["leader", EpochFloor.key]

    /// - Returns: How many keys were written.
    func write(_ backup: Isobar_V1_BackupFile, above epoch: UInt64, replacing: Bool) async throws -> Int {
        let held = try await self.store.list(prefix: "").map(\.key)
        guard held.isEmpty || replacing else { throw NotEmpty(keys: held.count) }
        // First what is there: a hub that still runs on this store loses its leadership and ends.
        var writes = held.map { StoreTransaction.Write.delete(key: $0) }
        try await self.commit(&writes)
        let entries = backup.entries.filter { !Self.transient.contains($0.key) }
        writes = entries.map { .put(key: $0.key, value: [UInt8]($0.value)) }
        writes.append(.put(key: EpochFloor.key, value: StoredNumber.bytes(epoch)))
        try await self.commit(&writes)
        return entries.count
    }

    /// In portions: a transaction of etcd has at most 128 writes.
    private func commit(_ writes: inout [StoreTransaction.Write]) async throws {
        while !writes.isEmpty {
            let portion = Array(writes.prefix(32))
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
