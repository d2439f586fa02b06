import EngineModel
import FleetModel
import TestKit

/// A story: commands with what they print, as in etcd's data-driven tests.
///
/// A text file of blocks. A block is one or more lines of commands, a line `----`, and the lines that they print, up to
/// an empty line. Lines that begin with `#` are for the reader.
///
///     region NAME [demand]                  a region
///     link A B MILLISECONDS                 the round trip between two
///     cluster NAME REGION PROFILE ENGINES   a cluster
///     begin POLICY load L seed N            lengths are even between 0.2 and 1.8 of 1,155 and 211 tokens
///     run SECONDSs                          what clients, clusters and the plan saw meanwhile
///     expect WHAT < VALUE                   of the last run; WHAT is ttft, p99, rejected, cut or remote; or >
///     any event                             see ``FleetEvent``
package struct FleetStory {
    /// A line that is no command, or comes too early.
    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let line: Int
        package let reason: String
        package var description: String { "line \(self.line): \(self.reason)" }
    }

    private var regions: [WorldRegion] = []
    private var links: [(String, String, Seconds)] = []
    private var clusters: [WorldCluster] = []
    private var run: FleetSimulation?
    private var told = 0
    private var last = PolicyOutcome()

    package init() {}

    /// Tells a whole story again.
    ///
    /// - Returns: the text with what the commands print now.
    /// - Throws: ``Failure`` at the first line that is no command.
    package static func retell(_ text: String) throws(Failure) -> String {
        var story = FleetStory()
        var told: [String] = []
        var printed: [String] = []
        var isPrinting = false
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if isPrinting {
                guard line.isEmpty else { continue }
                isPrinting = false
            }
            told.append(String(line))
            if line == "----" {
                told += printed
                printed = []
                isPrinting = true
            } else if !line.isEmpty, !line.hasPrefix("#") {
                do {
                    printed += try story.tell(String(line))
                } catch {
                    throw Failure(line: index + 1, reason: error.reason)
                }
            }
        }
        return told.joined(separator: "\n")
    }

    private struct Refusal: Error {
        var reason: String
    }

    /// What one command prints.
    private mutating func tell(_ line: String) throws(Refusal) -> [String] {
        let words = line.split(separator: " ").map(String.init)
        switch words[0] {
        case "region":
            let demand = words.count > 2 ? Double(words[2]) ?? 1 : 1
            self.regions.append(WorldRegion(name: try Self.name(words, 1), demand: demand))
            return []
        case "link":
            guard words.count == 4, let time = Double(words[3]) else {
                throw Refusal(reason: "use link A B MILLISECONDS")
            }
            self.links.append((words[1], words[2], time / 1_000))
            return []
        case "cluster":
            guard words.count == 5, let profile = try? EngineProfile(named: words[3]), let count = Int(words[4]) else {
                throw Refusal(reason: "use cluster NAME REGION PROFILE ENGINES")
            }
            self.clusters.append(
                WorldCluster(
                    name: try Self.name(words, 1),
                    region: try Self.name(words, 2),
                    profile: profile,
                    engines: count
                )
            )
            return []
        case "begin": return [try self.begin(words)]
        case "run": return try self.go(words)
        case "expect": return [try self.expect(words)]
        default:
            guard self.run != nil else { throw Refusal(reason: "nothing has begun; use region, link, cluster, begin") }
            do throws(FleetEventError) {
                try self.run?.happen(FleetEvent(line))
            } catch {
                throw Refusal(reason: error.description)
            }
            return []
        }
    }

    private static func name<Name: LabelName>(_ words: [String], _ index: Int) throws(Refusal) -> Name {
        guard words.count > index, let name = try? Name(words[index]) else {
            throw Refusal(reason: "word \(index + 1) should be a \(Name.kind)")
        }
        return name
    }

    private mutating func begin(_ words: [String]) throws(Refusal) -> String {
        guard words.count == 6, let policy = try? SimulationPolicy(named: words[1]), let load = Double(words[3]),
            let seed = UInt64(words[5]), !self.clusters.isEmpty
        else { throw Refusal(reason: "use begin POLICY load L seed N, after a cluster") }
        var trips = Array(repeating: Array(repeating: 0.1, count: self.regions.count), count: self.regions.count)
        for place in trips.indices { trips[place][place] = 0 }
        for (a, b, time) in self.links {
            guard let from = self.regions.firstIndex(where: { $0.name.text == a }),
                let to = self.regions.firstIndex(where: { $0.name.text == b })
            else { throw Refusal(reason: "link \(a) \(b) names what is no region") }
            trips[from][to] = time
            trips[to][from] = time
        }
        let world = FleetWorld(
            regions: self.regions,
            clusters: self.clusters,
            bands: [WorldBand(band: .standard, share: 1, objective: 1)],
            roundTrips: trips
        )
        let comparison = FleetComparison(
            world: world,
            requests: Self.requests,
            policies: [policy],
            load: load,
            measured: 1_000_000,
            warmup: 0,
            events: [],
            seed: seed,
            capacity: TrueCapacity.measure(world, requests: Self.requests, counted: 400)
        )
        self.run = comparison.run(policy)
        let total = (comparison.totalCapacity * 10).rounded() / 10
        return "\(self.clusters.count) clusters finish \(total) requests per second"
    }

    private static let requests: [TrafficRequest] = {
        var dice = SeededGenerator(seed: 1)
        return (0..<997).map { _ in
            TrafficRequest(
                promptTokens: Int(1_155 * Double.random(in: 0.2...1.8, using: &dice)),
                outputTokens: Int(211 * Double.random(in: 0.2...1.8, using: &dice))
            )
        }
    }()

    private mutating func go(_ words: [String]) throws(Refusal) -> [String] {
        guard var run = self.run, words.count == 2, words[1].hasSuffix("s"), let length = Double(words[1].dropLast())
        else { throw Refusal(reason: "use run SECONDSs, after begin") }
        run.advance(to: run.now + length)
        self.run = run
        let records = Array(run.records[self.told...])
        self.told = run.records.count
        self.last = PolicyOutcome(records: records, bands: run.world.bands)
        var lines = [
            "\(Int(run.now.rounded())) s: \(records.count) ended, TTFT mean \(Self.milliseconds(self.last.ttft.mean)), "
                + "p99 \(Self.milliseconds(self.last.ttft.p99)), \(Self.percent(self.last.remoteShare)) remote, "
                + "\(self.last.rejected) rejected, \(self.last.cut) cut"
        ]
        for (place, view) in run.clusterViews.enumerated() {
            let served = Double(records.count { $0.cluster == place && $0.ttft != nil })
            lines.append(
                "  \(view.name) \(view.state), \(view.up)/\(view.engines) up, \(view.running) running, "
                    + "\(view.waiting) waiting, served \(Self.percent(served / Double(max(1, records.count))))"
            )
        }
        for region in run.world.regions {
            guard let weights = run.weights(from: region.name, band: .standard) else { continue }
            let shares = weights.map { "\($0.cluster) \(Self.percent($0.weight))" }
            lines.append("  from \(region.name): \(shares.joined(separator: ", "))")
        }
        return lines
    }

    private func expect(_ words: [String]) throws(Refusal) -> String {
        let known = [
            "ttft": self.last.ttft.mean, "p99": self.last.ttft.p99, "rejected": Double(self.last.rejected),
            "cut": Double(self.last.cut), "remote": self.last.remoteShare,
        ]
        guard words.count == 4, let value = known[words[1]], ["<", ">"].contains(words[2]), let limit = Double(words[3])
        else { throw Refusal(reason: "use expect ttft|p99|rejected|cut|remote <|> NUMBER") }
        let holds = words[2] == "<" ? value < limit : value > limit
        return holds ? "ok" : "FAILED: \(words[1]) is \(value)"
    }

    private static func milliseconds(_ seconds: Seconds) -> String { "\(Int((seconds * 1_000).rounded())) ms" }

    private static func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
