package import ArgumentParser
import Foundation
import OperatorLink
import ProgramShell
import WireProtocol

/// `isobar backup`: everything that the hub's store holds, in one file.
package struct BackupCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Write all that the hub's store holds to a file, as of one moment, while it runs.",
        discussion: """
            Resources, who changed them, the plan in force, the history, the incarnations of agents. \
            `isobar restore` makes a new store of it. An existing file is replaced when the new one is whole.
            """
    )

    @Argument(help: ArgumentHelp("The file to write.", valueName: "file"))
    var file: String
    @Option(name: .shortAndLong, help: "text or json.")
    var output: ChangeOutput = .text
    @OptionGroup var hub: HubOptions

    package init() {}

    package func run() async throws {
        try await self.hub.ask("backup") { client in
            var backup = Isobar_V1_BackupFile()
            let status = try await client.status()
            backup.software = status.software
            backup.epoch = status.epoch
            backup.madeUnixMs = Int64(Date().timeIntervalSince1970 * 1_000)
            backup.entries = try await client.backup()
            let bytes = try BackupBytes.encode(backup)
            do {
                try Data(bytes).write(to: URL(fileURLWithPath: self.file), options: .atomic)
            } catch {
                throw OperatorRefusal(.badRequest, "\(self.file) cannot be written: \(error.localizedDescription)")
            }
            switch self.output {
            case .text:
                let size = ByteCountFormatter.string(fromByteCount: Int64(bytes.count), countStyle: .binary)
                print("\(self.file): \(backup.entries.count) keys, \(size), epoch \(backup.epoch)")
            case .json:
                struct Whole: Encodable {
                    var file: String
                    var keys: Int
                    var bytes: Int
                    var epoch: UInt64
                }
                print(
                    try Lines.json(
                        Whole(file: self.file, keys: backup.entries.count, bytes: bytes.count, epoch: backup.epoch)
                    )
                )
            }
        }
    }
}
