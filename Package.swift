// swift-tools-version: 6.2
import PackageDescription

// The house: every target is a room, and arrows go down only (docs/house.md, kept by Tests/HouseTests).
//
// HOUSE=core       builds only the pure rooms and their tests, with no package dependency but Collections.
// HOUSE=RoomName   builds one room, the rooms below it, and its tests.
let house = Context.environment["HOUSE"]

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .treatAllWarnings(as: .error),
]

/// A product of another package that a room uses.
struct Product {
    let name: String
    let package: String

    var dependency: Target.Dependency { .product(name: self.name, package: self.package) }

    static let argumentParser = Product(name: "ArgumentParser", package: "swift-argument-parser")
    static let asn1 = Product(name: "SwiftASN1", package: "swift-asn1")
    static let asyncHTTPClient = Product(name: "AsyncHTTPClient", package: "async-http-client")
    static let crypto = Product(name: "Crypto", package: "swift-crypto")
    static let deque = Product(name: "DequeModule", package: "swift-collections")
    static let grdb = Product(name: "GRDB", package: "GRDB.swift")
    static let grpcCore = Product(name: "GRPCCore", package: "grpc-swift-2")
    static let grpcInProcess = Product(name: "GRPCInProcessTransport", package: "grpc-swift-2")
    static let grpcProtobuf = Product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")
    static let grpcTransport = Product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
    static let hummingbird = Product(name: "Hummingbird", package: "hummingbird")
    static let hummingbirdCore = Product(name: "HummingbirdCore", package: "hummingbird")
    static let lifecycle = Product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let logging = Product(name: "Logging", package: "swift-log")
    static let nioCore = Product(name: "NIOCore", package: "swift-nio")
    static let nioEmbedded = Product(name: "NIOEmbedded", package: "swift-nio")
    static let nioHPACK = Product(name: "NIOHPACK", package: "swift-nio-http2")
    static let nioHTTP2 = Product(name: "NIOHTTP2", package: "swift-nio-http2")
    static let nioHTTP1 = Product(name: "NIOHTTP1", package: "swift-nio")
    static let nioSSL = Product(name: "NIOSSL", package: "swift-nio-ssl")
    static let nioPosix = Product(name: "NIOPosix", package: "swift-nio")
    static let nioTLS = Product(name: "NIOTLS", package: "swift-nio")
    static let protobuf = Product(name: "SwiftProtobuf", package: "swift-protobuf")
    static let subprocess = Product(name: "Subprocess", package: "swift-subprocess")
    static let systemPackage = Product(name: "SystemPackage", package: "swift-system")
    static let unixSignals = Product(name: "UnixSignals", package: "swift-service-lifecycle")
    static let x509 = Product(name: "X509", package: "swift-certificates")
    static let yams = Product(name: "Yams", package: "Yams")
}

/// Where a room stands.
enum Floor {
    case words, thinking, doors, programs, proving
}

/// One room: a target and, beside it, its test target.
struct Room {
    let name: String
    let floor: Floor
    var pure = true
    var uses: [String] = []
    var products: [Product] = []
    var testUses: [String] = []
    var testProducts: [Product] = []
    var isTested = true
    var isExecutable = false
    var exclude: [String] = []
    /// Where the sources are, when not in `Sources`.
    var path: String?

    var targets: [Target] {
        let dependencies = self.uses.map { Target.Dependency.target(name: $0) } + self.products.map(\.dependency)
        let target: Target =
            self.isExecutable
            ? .executableTarget(
                name: self.name,
                dependencies: dependencies,
                path: self.path,
                exclude: self.exclude,
                swiftSettings: strict
            )
            : .target(
                name: self.name,
                dependencies: dependencies,
                exclude: self.exclude,
                swiftSettings: strict
            )
        guard self.isTested else { return [target] }
        let tests = Target.testTarget(
            name: "\(self.name)Tests",
            dependencies: [.target(name: self.name)]
                + (self.uses + self.testUses).map { Target.Dependency.target(name: $0) }
                + (self.products + self.testProducts).map(\.dependency),
            swiftSettings: strict
        )
        return [target, tests]
    }
}

let rooms: [Room] = [
    // Words
    Room(name: "FleetModel", floor: .words, testUses: ["TestKit"]),
    Room(name: "Exposition", floor: .words, testUses: ["TestKit"]),
    Room(name: "Resources", floor: .words, uses: ["FleetModel"]),
    Room(
        name: "WireProtocol",
        floor: .words,
        pure: false,
        uses: ["FleetModel", "Resources"],
        products: [.protobuf, .grpcCore, .grpcProtobuf, .nioCore, .crypto],
        testUses: ["TestKit"],
        exclude: ["proto"]
    ),

    Room(
        name: "EtcdAPI",
        floor: .words,
        pure: false,
        products: [.protobuf, .grpcCore, .grpcProtobuf],
        exclude: ["proto"]
    ),

    // Thinking rooms
    Room(
        name: "EngineModel",
        floor: .thinking,
        uses: ["FleetModel", "Exposition"],
        products: [.deque],
        testUses: ["TestKit"]
    ),
    Room(
        name: "EngineSignals",
        floor: .thinking,
        uses: ["FleetModel", "Exposition"],
        testUses: ["TestKit", "EngineModel"]
    ),
    Room(name: "GossipCore", floor: .thinking, uses: ["FleetModel"], testUses: ["TestKit"]),
    Room(name: "Leadership", floor: .thinking, uses: ["FleetModel"], testUses: ["TestKit"]),
    Room(name: "WeightSolver", floor: .thinking, uses: ["FleetModel"], testUses: ["TestKit"]),
    Room(
        name: "RequestRouting",
        floor: .thinking,
        uses: ["FleetModel"],
        products: [.deque],
        testUses: ["TestKit"]
    ),
    Room(name: "EtcdCare", floor: .thinking, uses: ["FleetModel"]),
    Room(
        name: "FleetPlanning",
        floor: .thinking,
        uses: ["FleetModel", "GossipCore", "Resources", "WeightSolver"]
    ),

    // Doors
    Room(
        name: "CertificateAuthority",
        floor: .doors,
        pure: false,
        uses: ["FleetModel"],
        products: [.asn1, .crypto, .systemPackage, .x509],
        testUses: ["TestKit"]
    ),
    Room(
        name: "ConfigurationFiles",
        floor: .doors,
        pure: false,
        uses: ["FleetModel", "EngineSignals", "Resources"],
        products: [.yams]
    ),
    Room(
        name: "EngineScraping",
        floor: .doors,
        pure: false,
        uses: ["FleetModel", "EngineSignals"],
        products: [.asyncHTTPClient, .nioCore, .nioHTTP1, .nioPosix, .lifecycle],
        testUses: ["TestKit"]
    ),
    Room(
        name: "GossipTransport",
        floor: .doors,
        pure: false,
        uses: ["Exposition", "FleetModel", "GossipCore", "WireProtocol"],
        products: [.grpcCore, .grpcProtobuf, .protobuf],
        testUses: ["CertificateAuthority", "TestKit", "WireTransport"],
        testProducts: [.grpcInProcess, .logging]
    ),
    Room(name: "LoopbackPorts", floor: .doors, pure: false, testProducts: [.nioCore, .nioPosix]),
    Room(
        name: "Observability",
        floor: .doors,
        pure: false,
        uses: ["Exposition"],
        products: [.logging, .hummingbird, .nioCore, .lifecycle],
        testUses: ["TestKit"],
        testProducts: [.asyncHTTPClient, .nioHTTP1]
    ),
    Room(
        name: "PlanStream",
        floor: .doors,
        pure: false,
        uses: ["FleetModel", "Leadership", "WireProtocol"],
        products: [.grpcCore, .grpcProtobuf, .nioCore, .protobuf, .crypto],
        testUses: ["TestKit", "WireTransport"]
    ),
    Room(
        name: "OperatorLink",
        floor: .doors,
        pure: false,
        uses: ["FleetModel", "WireProtocol"],
        products: [.grpcCore, .grpcProtobuf, .protobuf, .crypto],
        testUses: ["TestKit"],
        testProducts: [.grpcInProcess]
    ),
    Room(
        name: "ReverseProxy",
        floor: .doors,
        pure: false,
        uses: ["FleetModel"],
        products: [
            .nioCore, .nioPosix, .nioHTTP1, .nioHTTP2, .nioHPACK, .nioTLS, .deque, .logging, .lifecycle,
        ],
        testUses: ["TestKit", "CertificateAuthority"],
        testProducts: [.nioEmbedded, .nioSSL]
    ),
    Room(name: "WorkloadTraces", floor: .doors, pure: false, uses: ["FleetModel"]),
    Room(name: "StateStore", floor: .doors, testUses: ["TestKit"]),
    Room(
        name: "StateStoreSQLite",
        floor: .doors,
        pure: false,
        uses: ["StateStore"],
        products: [.grdb],
        testUses: ["TestKit"]
    ),
    Room(
        name: "StateStoreEtcd",
        floor: .doors,
        pure: false,
        uses: ["EtcdAPI", "EtcdCare", "FleetModel", "StateStore", "WireTransport"],
        products: [.grpcCore, .grpcTransport, .nioCore, .nioSSL],
        testUses: ["CertificateAuthority", "ProcessKit", "TestKit"],
        testProducts: [.logging]
    ),
    Room(
        name: "EtcdProcess",
        floor: .doors,
        pure: false,
        uses: ["EtcdCare"],
        products: [.subprocess, .systemPackage],
        testUses: ["FleetModel", "LoopbackPorts", "ProcessKit", "TestKit"]
    ),
    Room(
        name: "WireTransport",
        floor: .doors,
        pure: false,
        uses: ["FleetModel", "Exposition", "WireProtocol"],
        products: [
            .asn1, .grpcCore, .grpcTransport, .lifecycle, .logging, .nioCore, .nioHPACK, .nioHTTP2, .nioSSL, .nioTLS,
            .x509,
        ],
        testUses: ["TestKit", "CertificateAuthority", "GossipTransport"],
        testProducts: [.nioEmbedded, .nioPosix, .protobuf]
    ),

    // Programs
    Room(
        name: "ProgramShell",
        floor: .programs,
        pure: false,
        uses: ["ConfigurationFiles", "FleetModel", "Observability", "WireTransport"],
        products: [.argumentParser, .logging, .lifecycle, .unixSignals],
        testUses: ["TestKit"]
    ),
    Room(
        name: "EngineProgram",
        floor: .programs,
        pure: false,
        uses: ["EngineModel", "Exposition", "ProgramShell"],
        products: [
            .argumentParser, .hummingbird, .hummingbirdCore, .nioCore, .logging, .lifecycle,
        ],
        testUses: ["TestKit"],
        testProducts: [.asyncHTTPClient, .nioHTTP1]
    ),
    Room(
        name: "AgentProgram",
        floor: .programs,
        pure: false,
        uses: [
            "FleetModel", "ConfigurationFiles", "Exposition", "EngineSignals", "EngineScraping", "GossipCore",
            "GossipTransport", "Observability", "ProgramShell", "WireProtocol", "WireTransport",
        ],
        products: [.argumentParser, .logging, .lifecycle, .asyncHTTPClient, .protobuf],
        testUses: ["TestKit"]
    ),
    Room(
        name: "HubProgram",
        floor: .programs,
        pure: false,
        uses: [
            "FleetModel", "ConfigurationFiles", "EtcdCare", "EtcdProcess", "Exposition", "FleetPlanning", "GossipCore",
            "GossipTransport", "Leadership", "Observability", "OperatorLink", "PlanStream", "ProgramShell", "Resources",
            "StateStore",
            "StateStoreEtcd", "StateStoreSQLite", "WeightSolver", "WireProtocol", "WireTransport",
        ],
        products: [.argumentParser, .grpcCore, .logging, .lifecycle, .protobuf],
        testUses: ["TestKit"]
    ),
    Room(
        name: "GatewayProgram",
        floor: .programs,
        pure: false,
        uses: [
            "FleetModel", "ConfigurationFiles", "EngineSignals", "Exposition", "GossipTransport", "Leadership",
            "Observability", "PlanStream", "ProgramShell", "RequestRouting", "ReverseProxy", "WireProtocol",
            "WireTransport",
        ],
        products: [.argumentParser, .logging, .lifecycle, .asyncHTTPClient, .nioCore, .nioPosix],
        testUses: ["TestKit"],
        testProducts: [.nioHTTP1]
    ),
    Room(
        name: "DemoProgram",
        floor: .programs,
        pure: false,
        uses: ["FleetModel", "LoopbackPorts", "WorkloadTraces"],
        products: [
            .argumentParser, .asyncHTTPClient, .nioCore, .nioPosix, .nioHTTP1, .subprocess, .systemPackage,
            .unixSignals,
        ],
        testUses: ["TestKit"]
    ),
    Room(
        name: "OperatorCLI",
        floor: .programs,
        pure: false,
        uses: [
            "CertificateAuthority", "ConfigurationFiles", "EngineModel", "EngineScraping", "EngineSignals",
            "FleetModel", "FleetSimulator", "OperatorLink", "PlanStream", "ProgramShell", "Resources", "WeightSolver",
            "WireProtocol", "WireTransport", "WorkloadTraces",
        ],
        products: [.argumentParser, .asyncHTTPClient, .grpcCore, .logging, .protobuf],
        testUses: ["TestKit"]
    ),
    Room(
        name: "isobar",
        floor: .programs,
        pure: false,
        uses: ["AgentProgram", "DemoProgram", "EngineProgram", "GatewayProgram", "HubProgram", "OperatorCLI"],
        products: [.argumentParser],
        isTested: false,
        isExecutable: true
    ),

    // Proving
    Room(name: "Linearizability", floor: .proving, testUses: ["TestKit"]),
    Room(name: "TestKit", floor: .proving, uses: ["FleetModel", "StateStore"]),
    Room(
        name: "ProcessKit",
        floor: .proving,
        pure: false,
        uses: ["LoopbackPorts", "TestKit"],
        products: [.nioCore, .nioPosix, .subprocess, .systemPackage]
    ),
    Room(
        name: "FleetSimulator",
        floor: .proving,
        uses: [
            "EngineModel", "EngineSignals", "Exposition", "FleetModel", "FleetPlanning", "GossipCore", "Leadership",
            "RequestRouting", "TestKit", "WeightSolver",
        ]
    ),
    Room(
        name: "isobar-bench",
        floor: .proving,
        pure: false,
        uses: [
            "EngineSignals", "EtcdCare", "EtcdProcess", "Exposition", "FleetModel", "FleetPlanning", "GossipCore",
            "GossipTransport", "HubProgram", "Leadership", "Linearizability", "LoopbackPorts", "PlanStream",
            "ProcessKit", "RequestRouting", "StateStore", "StateStoreEtcd", "StateStoreSQLite", "WeightSolver",
            "WireProtocol", "WireTransport",
        ],
        products: [
            .argumentParser, .grpcCore, .grpcProtobuf, .grpcTransport, .lifecycle, .logging, .nioCore, .nioHPACK,
            .nioHTTP1, .nioHTTP2, .nioPosix, .nioSSL, .protobuf,
        ],
        isTested: false,
        isExecutable: true,
        exclude: ["count-allocations.c"],
        path: "testenv/benchmarks"
    ),
]

/// The rooms that this build needs, with everything below them.
let chosen: Set<String> = {
    let named: [Room]
    switch house {
    case nil, "", "all": named = rooms
    case "core": named = rooms.filter(\.pure)
    case .some(let name): named = rooms.filter { $0.name == name }
    }
    var needed: Set<String> = []
    var next = named.flatMap { [$0.name] + $0.testUses }
    while let name = next.popLast() {
        guard needed.insert(name).inserted, let room = rooms.first(where: { $0.name == name }) else { continue }
        next += room.uses
    }
    return needed
}()

/// The tests of a room are built when the room was asked for, not when it is only stood upon.
let tested: Set<String> = {
    switch house {
    case nil, "", "all": return Set(rooms.map(\.name))
    case "core": return Set(rooms.filter(\.pure).map(\.name))
    case .some(let name): return [name]
    }
}()

let everything = house == nil || house == "" || house == "all"

let targets: [Target] =
    rooms.filter { chosen.contains($0.name) }.flatMap { room in
        room.targets.filter { $0.type != .test || tested.contains(room.name) }
    }
    + (everything || house == "core" ? [.testTarget(name: "HouseTests", swiftSettings: strict)] : [])
    + (everything
        ? [
            .testTarget(
                name: "StoryTests",
                dependencies: [
                    "isobar", "FleetModel", "LoopbackPorts", "ProcessKit", "TestKit", "WireProtocol", "WireTransport",
                    Product.asyncHTTPClient.dependency, Product.grpcCore.dependency,
                    Product.logging.dependency, Product.nioCore.dependency, Product.nioHTTP1.dependency,
                    Product.protobuf.dependency, Product.subprocess.dependency, Product.systemPackage.dependency,
                ],
                swiftSettings: strict
            )
        ] : [])

/// Every package by its identity; a build of a part of the house resolves only what that part uses.
let packages: [(identity: String, dependency: Package.Dependency)] = [
    ("swift-argument-parser", .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")),
    ("swift-asn1", .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4")),
    ("swift-certificates", .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1")),
    ("swift-collections", .package(url: "https://github.com/apple/swift-collections", from: "1.6.0")),
    ("swift-crypto", .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2")),
    ("swift-log", .package(url: "https://github.com/apple/swift-log", from: "1.16.2")),
    ("swift-nio", .package(url: "https://github.com/apple/swift-nio", from: "2.101.2")),
    ("swift-nio-http2", .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0")),
    ("swift-nio-ssl", .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6")),
    ("swift-protobuf", .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: [])),
    ("swift-system", .package(url: "https://github.com/apple/swift-system", from: "1.6.0")),
    ("GRDB.swift", .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0")),
    ("grpc-swift-2", .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3")),
    (
        "grpc-swift-nio-transport",
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2")
    ),
    ("grpc-swift-protobuf", .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1")),
    ("hummingbird", .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1")),
    ("Yams", .package(url: "https://github.com/jpsim/Yams", from: "6.2.2")),
    ("async-http-client", .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0")),
    (
        "swift-service-lifecycle",
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0")
    ),
    ("swift-subprocess", .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2")),
]
let used = Set(
    rooms.filter { chosen.contains($0.name) }.flatMap { room in
        (room.products + (tested.contains(room.name) ? room.testProducts : [])).map(\.package)
    }
)

let package = Package(
    name: "isobar",
    products: everything ? [.executable(name: "isobar", targets: ["isobar"])] : [],
    dependencies: packages.filter { used.contains($0.identity) }.map(\.dependency),
    targets: targets
)
