import ArgumentParser
import FleetSimulator
import Foundation

/// `isobar simulate gossip`: the real gossip of a large fleet over a bad network, in virtual time.
struct SimulateGossipCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gossip",
        abstract: "Measure how digests reach the hubs in a simulated fleet.",
        discussion: """
            Regions are spread over a globe, hubs as far from each other as can be. Every frame is a change; its \
            latency counts until every hub replica has it, for the agents whose links are cut, or for all when none \
            is. Bytes include the seal, gRPC, HTTP/2, TLS, TCP and IP headers and TCP acknowledgements; each byte \
            counts once.

            Streams hold up what follows a lost packet until it is sent again (a round trip and 0.2 s, or 1.25 round \
            trips inside a longer message); datagrams are lost. Bandwidth and congestion control are not simulated.
            """
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case json, table
    }

    @Option(name: .long, help: "Agents, spread evenly over the regions.")
    var agents = 1_000

    @Option(name: .long, help: "Regions.")
    var regions = 50

    @Option(name: .long, help: "Hub replicas, 1 to 16.")
    var hubs = 5

    @Option(name: .long, help: "The share of packets that is lost.")
    var loss = 0.05

    @Option(name: .long, help: ArgumentHelp("The longest round trip, in milliseconds.", valueName: "ms"))
    var rttMax = 300.0

    @Option(
        name: .long,
        help: ArgumentHelp("The share of every agent's links to hubs that is cut: 0.8 of 5 are 4.", valueName: "share")
    )
    var cutDirect = 0.0

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The share of agents whose links are left alone; 0, or 0.1 when all links of the others are cut.",
            valueName: "share"
        )
    )
    var spared: Double?

    @Option(name: .long, help: "streams, packets or datagrams.")
    var transport = "streams"

    @Option(name: .long, help: "Pools of each agent.")
    var pools = 4

    @Option(name: .long, help: ArgumentHelp("Bytes of one sealed digest.", valueName: "bytes"))
    var digestBytes = 96

    @Option(name: .long, help: ArgumentHelp("How long is measured, after 20 s of warm-up.", valueName: "seconds"))
    var duration = 60.0

    @Option(name: .long, help: "Agents that die while measured; one in a hundred when not given.")
    var kills: Int?

    @Option(
        name: .long,
        help: ArgumentHelp("Cut half of the regions off the other half for so long first.", valueName: "seconds")
    )
    var partition = 0.0

    @Option(name: .long, help: "The same seed gives the same bytes.")
    var seed: UInt64 = 1

    @Option(name: .shortAndLong, help: "json or table.")
    var output = Output.table

    func validate() throws {
        func check<Value: Comparable>(_ name: String, _ value: Value, _ range: ClosedRange<Value>) throws {
            guard range.contains(value) else {
                throw ValidationError("--\(name): use \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try check("agents", self.agents, 1...10_000)
        try check("regions", self.regions, 1...1_000)
        try check("hubs", self.hubs, 1...16)
        try check("loss", self.loss, 0...0.5)
        try check("rtt-max", self.rttMax, 0...2_000)
        try check("cut-direct", self.cutDirect, 0...1)
        try check("spared", self.spared ?? 0, 0...1)
        try check("pools", self.pools, 1...200)
        try check("digest-bytes", self.digestBytes, 16...256)
        try check("duration", self.duration, 1...86_400)
        try check("kills", self.kills ?? 0, 0...self.agents)
        try check("partition", self.partition, 0...86_400)
        guard self.hubs <= self.regions else { throw ValidationError("--hubs: use at most one a region") }
        guard GossipWorld.Transport(rawValue: self.transport) != nil else {
            throw ValidationError("--transport: use streams, packets or datagrams")
        }
    }

    /// The world that the options describe.
    var world: GossipWorld {
        var world = GossipWorld()
        world.agents = self.agents
        world.regions = self.regions
        world.hubs = self.hubs
        world.loss = self.loss
        world.roundTripMax = self.rttMax / 1_000
        world.cutDirect = self.cutDirect
        world.spared = self.spared ?? (world.linksCut == world.hubs ? 0.1 : 0)
        world.transport = GossipWorld.Transport(rawValue: self.transport) ?? .streams
        world.pools = self.pools
        world.digestBytes = self.digestBytes
        world.duration = self.duration
        world.kills = self.kills ?? (self.agents + 99) / 100
        world.partition = self.partition
        world.seed = self.seed
        return world
    }

    func run() throws {
        var simulation = GossipSimulation(self.world)
        while !simulation.isDone {
            simulation.advance(to: simulation.now + 10)
            Self.progress("\(Int(simulation.now)) of \(Int(simulation.end)) s")
        }
        Self.progress("")
        let report = GossipReport(world: self.world, outcome: simulation.outcome)
        print(self.output == .json ? try report.json() : report.table)
    }

    /// One line that replaces itself, on a terminal only.
    private static func progress(_ text: String) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
    }
}
