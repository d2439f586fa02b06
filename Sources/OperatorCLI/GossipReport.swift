import FleetModel
import FleetSimulator
import Foundation

/// What a simulated gossip came to, as JSON or as a table.
struct GossipReport {
    let world: GossipWorld
    let outcome: GossipOutcome

    /// - Throws: when Foundation's encoder does.
    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(self.value), as: UTF8.self)
    }

    private var value: JSONValue {
        .object([
            "agents": .number(Double(self.world.agents)),
            "regions": .number(Double(self.world.regions)),
            "hubs": .number(Double(self.world.hubs)),
            "loss": .number(self.world.loss),
            "rtt_max_seconds": .number(self.world.roundTripMax),
            "cut_direct": .number(self.world.cutDirect),
            "spared": .number(self.world.spared),
            "transport": .string(self.world.transport.rawValue),
            "frame_bytes": .number(Double(self.world.frameBytes)),
            "measured_seconds": .number(self.world.duration),
            "partition_seconds": .number(self.world.partition),
            "seed": .number(Double(self.world.seed)),
            "hub_latency_seconds": Self.value(of: self.outcome.hubLatency),
            "unfinished": .number(Double(self.outcome.unfinished)),
            "first_hub_latency_seconds": Self.value(of: self.outcome.firstHubLatency),
            "bytes_per_agent_per_second": Self.number(self.outcome.bytesPerAgentPerSecond),
            "messages_per_agent_per_second": Self.number(self.outcome.messagesPerAgentPerSecond),
            "mesh_bytes_per_hub_per_second": Self.number(self.outcome.meshBytesPerHubPerSecond),
            "false_suspicions": .number(Double(self.outcome.falseSuspicions)),
            "detection_seconds": Self.value(of: self.outcome.detection),
            "undetected": .number(Double(self.outcome.undetected)),
            "convergence_seconds": self.outcome.convergence.map(Self.number) ?? .null,
            "old_digests_won": .number(Double(self.outcome.oldDigestsWon)),
            "coordinate_error": self.outcome.coordinateError.map(Self.number) ?? .null,
        ])
    }

    private static func value(of quantiles: GossipQuantiles) -> JSONValue {
        .object([
            "count": .number(Double(quantiles.count)), "p50": self.number(quantiles.p50),
            "p99": self.number(quantiles.p99), "max": self.number(quantiles.max),
        ])
    }

    /// To the microsecond.
    private static func number(_ value: Double) -> JSONValue { .number((value * 1e6).rounded() / 1e6) }

    var table: String {
        let cut = self.world.linksCut
        func times(_ quantiles: GossipQuantiles) -> String {
            guard quantiles.count > 0 else { return "none" }
            return String(format: "p50 %.3f s   p99 %.3f s   max %.3f s", quantiles.p50, quantiles.p99, quantiles.max)
                + "   of \(quantiles.count)"
        }
        var rows = [
            ("change to every hub", times(self.outcome.hubLatency)),
            ("changes not with every hub", "\(self.outcome.unfinished)"),
            ("change to the first hub", times(self.outcome.firstHubLatency)),
            ("traffic an agent", String(format: "%.0f B/s", self.outcome.bytesPerAgentPerSecond)),
            ("messages an agent", String(format: "%.1f /s", self.outcome.messagesPerAgentPerSecond)),
            ("mesh, out of a hub", String(format: "%.0f kB/s", self.outcome.meshBytesPerHubPerSecond / 1_000)),
            ("death to every hub", times(self.outcome.detection)),
            ("deaths not known", "\(self.outcome.undetected)"),
            ("false suspicions", "\(self.outcome.falseSuspicions)"),
            ("old digests that won", "\(self.outcome.oldDigestsWon)"),
        ]
        if self.world.partition > 0 {
            let time = self.outcome.convergence.map { String(format: "%.2f s", $0) } ?? "not reached"
            rows.append(("partition's end to agreement", time))
        }
        if let error = self.outcome.coordinateError {
            rows.append(("unmeasured round trips off by", String(format: "%.1f %% (median)", error * 100)))
        }
        let width = rows.map(\.0.count).max() ?? 0
        let lines = rows.map { $0.0.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + $0.1 }
        return """
            \(self.world.agents) agents in \(self.world.regions) regions, \(self.world.hubs) hubs, \
            \(Int(self.world.roundTripMax * 1_000)) ms, \(self.world.loss * 100) % loss (\(self.world.transport.rawValue)), \
            \(cut) of \(self.world.hubs) links cut, frames of \(self.world.frameBytes) B, seed \(self.world.seed), \
            \(Int(self.world.duration)) s

            \(lines.joined(separator: "\n"))
            """
    }
}
