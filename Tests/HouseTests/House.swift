import Foundation

/// The plan of the house, as docs/house.md tells it.
enum House {
    enum Floor: Int, Comparable {
        case words, thinking, doors, programs, proving

        static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
    }

    struct Room {
        let floor: Floor
        /// Rooms of the same floor that this one may stand on, each with its reason in the plan below.
        var neighbours: Set<String> = []

        func mayImport(_ module: String, on target: Floor) -> Bool {
            if self.neighbours.contains(module) { return true }
            // Proving rooms run anything but programs and doors; nothing that ships stands on them.
            if self.floor == .proving { return target < .doors }
            return target < self.floor
        }
    }

    static let rooms: [String: Room] = [
        "FleetModel": Room(floor: .words),
        "Exposition": Room(floor: .words),
        // Resources name regions, clusters and pools.
        "Resources": Room(floor: .words, neighbours: ["FleetModel"]),
        // The messages are made from the model's values and back: one place for every field.
        "WireProtocol": Room(floor: .words, neighbours: ["FleetModel", "Resources"]),
        "EtcdAPI": Room(floor: .words),

        "EtcdCare": Room(floor: .thinking),
        "EngineModel": Room(floor: .thinking),
        "EngineSignals": Room(floor: .thinking),
        // One tick of the hub: what was heard, solved.
        "FleetPlanning": Room(floor: .thinking, neighbours: ["GossipCore", "WeightSolver"]),
        "GossipCore": Room(floor: .thinking),
        "Leadership": Room(floor: .thinking),
        "RequestRouting": Room(floor: .thinking),
        "WeightSolver": Room(floor: .thinking),

        "CertificateAuthority": Room(floor: .doors),
        "ConfigurationFiles": Room(floor: .doors),
        "EngineScraping": Room(floor: .doors),
        "EtcdProcess": Room(floor: .doors),
        "GossipTransport": Room(floor: .doors),
        "LoopbackPorts": Room(floor: .doors),
        "Observability": Room(floor: .doors),
        "OperatorLink": Room(floor: .doors),
        "PlanStream": Room(floor: .doors),
        "ReverseProxy": Room(floor: .doors),
        "StateStore": Room(floor: .doors),
        // A store stands on the protocol of stores.
        "StateStoreSQLite": Room(floor: .doors, neighbours: ["StateStore"]),
        // Its connections are gRPC's like all others: their PINGs and their certificates are one room's work.
        "StateStoreEtcd": Room(floor: .doors, neighbours: ["StateStore", "WireTransport"]),
        "WireTransport": Room(floor: .doors),
        "WorkloadTraces": Room(floor: .doors),

        // What every program does alike: options, log, signals, exit codes.
        "ProgramShell": Room(floor: .programs),
        "AgentProgram": Room(floor: .programs, neighbours: ["ProgramShell"]),
        "DemoProgram": Room(floor: .programs, neighbours: ["ProgramShell"]),
        "EngineProgram": Room(floor: .programs, neighbours: ["ProgramShell"]),
        "GatewayProgram": Room(floor: .programs, neighbours: ["ProgramShell"]),
        "HubProgram": Room(floor: .programs, neighbours: ["ProgramShell"]),
        // `isobar simulate` is the simulator's face.
        "OperatorCLI": Room(floor: .programs, neighbours: ["ProgramShell", "FleetSimulator"]),
        "isobar": Room(
            floor: .programs,
            neighbours: [
                "AgentProgram", "DemoProgram", "EngineProgram", "GatewayProgram", "HubProgram", "OperatorCLI",
            ]
        ),

        // It brings its own clock and dice, like a test.
        "FleetSimulator": Room(floor: .proving, neighbours: ["TestKit"]),
        "Linearizability": Room(floor: .proving),
        // Processes are told free ports, as those of the demo are, and live in folders that are removed with them.
        "ProcessKit": Room(floor: .proving, neighbours: ["LoopbackPorts", "TestKit"]),
        // The law suite of stores is shared by the tests of every store.
        "TestKit": Room(floor: .proving, neighbours: ["StateStore"]),
    ]

    /// The rooms that decide, and the words they use: pure.
    static let pureRooms = rooms.filter {
        $0.value.floor <= .thinking && !["WireProtocol", "EtcdAPI"].contains($0.key)
    }.keys.sorted()

    /// What a pure room may import beside rooms.
    static let plainModules = [
        "DequeModule": "a queue is a value",
        "Glibc": "exp, log, memchr: functions without state",
        "Musl": "the same on static builds",
        "Darwin": "the same on a developer's Mac",
    ]

    static let bannedWords = [
        "ContinuousClock": "time is a parameter, so that a test can set it and the simulator can run it",
        "SuspendingClock": "time is a parameter",
        "Date()": "time is a parameter",
        "Task.sleep": "a room that decides never waits",
        " Task {": "a room that decides starts nothing",
        "await ": "a decision is synchronous: between two awaits the state may have changed",
        "SystemRandomNumberGenerator": "dice are a parameter, so that a seed tells the whole run",
        ".random(in:": "dice are a parameter",
        ".shuffled()": "dice are a parameter",
        ".randomElement()": "dice are a parameter",
        "import Foundation": "it brings clocks, files and locales in by the back door",
        "print(": "effects are returned, not done",
        "Logger(": "effects are returned, not done",
        "clock_gettime": "time is a parameter",
        "getenv": "settings are parameters",
    ]

    static let bannedEverywhere = [
        "fatalError(": "an error case is thrown or returned, a broken invariant is a precondition with its value",
        "try!": "an error is handled or thrown",
        "as!": "a cast that may fail is checked",
        " Task {": "every task has an owner: use a task group inside a run()",
        "Task.detached": "every task has an owner",
        "bufferingPolicy: .unbounded": "every queue is bounded, and somebody decided what happens when it is full",
    ]

    /// Where such a word stands all the same, and why.
    static let allowed: [String: (word: String, reason: String)] = [
        "WireTransport/ClientConnections.swift": (
            " Task {", "whoever starts it waits for it, and cancellation must not reach it"
        )
    ]

    // MARK: Reading the sources

    struct Source {
        let name: String
        let lines: [String]
        let imports: [(module: String, line: Int)]
        /// Lines without comments, with their numbers.
        let code: [(number: Int, line: String)]
    }

    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    static let sources = root.appendingPathComponent("Sources")

    static func files(of room: String) throws -> [Source] {
        try self.files(in: self.sources.appendingPathComponent(room))
    }

    static func files(in folder: URL) throws -> [Source] {
        guard let walk = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { return [] }
        return try walk.compactMap { $0 as? URL }
            .filter { $0.pathExtension == "swift" && !$0.path.contains("/Generated/") }
            .map(self.source)
    }

    private static func source(_ file: URL) throws -> Source {
        let lines = try String(contentsOf: file, encoding: .utf8).split(
            separator: "\n",
            omittingEmptySubsequences: false
        ).map(String.init)
        var imports: [(String, Int)] = []
        var code: [(Int, String)] = []
        for (index, line) in lines.enumerated() {
            let text = line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false).first.map(
                String.init
            )
            guard let text, !text.allSatisfy(\.isWhitespace) else { continue }
            let words = text.split(separator: " ")
            if let place = words.firstIndex(of: "import"), place <= 2, words.count > place + 1 {
                imports.append((String(words[place + 1]), index + 1))
            }
            code.append((index + 1, text))
        }
        let name = "\(file.deletingLastPathComponent().lastPathComponent)/\(file.lastPathComponent)"
        return Source(name: name, lines: lines, imports: imports, code: code)
    }
}
