import ArgumentParser
import FleetModel
import WireProtocol

/// What sealing costs an agent and opening costs a hub, on one core.
///
/// 400 bytes are a frame of about six pools. Opening includes deriving the key, since a hub keeps none.
struct SealBench: ParsableCommand, Bench {
    static let name = "seal"
    static let configuration = CommandConfiguration(
        commandName: "seal",
        abstract: "Sealed frames: what sealing, opening and refusing one costs."
    )

    func run() { self.report() }

    func measure() -> [Figure] {
        let rounds = 20_000
        let payload = (0..<400).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        guard let keys = try? FrameKeys(secret: FrameKeys.makeSecret()), let cluster = try? ClusterName("us-east-a"),
            var seal = try? FrameSeal(
                cluster: cluster,
                registration: keys.registration(of: cluster, agent: 1, incarnation: 7)
            ),
            let sealed = try? seal.seal(payload, sequence: 1)
        else { return [] }
        var forged = sealed
        forged[forged.count - 1] ^= 1
        var sequence: UInt32 = 1
        var opened = 0
        func figure(_ figure: String, _ body: () -> Void) -> Figure {
            let milliseconds = Stopwatch.median(of: 7) { for _ in 0..<rounds { body() } }
            return Figure(figure: figure, value: milliseconds * 1e6 / Double(rounds), unit: "ns")
        }
        let figures = [
            figure("seal a frame of 400 bytes") {
                sequence += 1
                if let bytes = try? seal.seal(payload, sequence: sequence) { opened &+= bytes.count }
            },
            figure("open it, key derivation included") {
                if let frame = try? keys.open(sealed) { opened &+= frame.payload.count }
            },
            figure("refuse a forged one") {
                if (try? keys.open(forged)) == nil { opened &+= 1 }
            },
        ]
        // Used, so that nothing is optimised away.
        precondition(opened > 0)
        return figures
    }
}
