import FleetModel
import Observability
import ReverseProxy

/// Asks a gateway of another region, again and again, whether it is there and how far away.
struct PeerProbe: Sendable {
    /// Half a second keeps the loss of a region from being noticed by requests first.
    static let period: Seconds = 0.5
    static let deadline: Seconds = 1

    let region: RegionName
    let address: EndpointAddress
    let ping: PeerPing
    let clock: MonotonicClock
    let onResult: @Sendable (Seconds?) -> Void

    /// Probes until cancelled.
    func run() async {
        var silent = 0
        defer { self.ping.close() }
        while !Task.isCancelled {
            var started = self.clock.now
            do {
                if try await self.ping.ask(deadline: Self.deadline) {
                    // That was the way there as well: the next answer takes a round trip.
                    started = self.clock.now
                    _ = try await self.ping.ask(deadline: Self.deadline)
                }
                self.onResult(self.clock.now - started)
                silent = 0
            } catch {
                if Task.isCancelled { return }
                silent += 1
                // A refusal is an answer. Silence may be a stall of our own: it takes two.
                if silent >= 2 || self.clock.now - started < Self.deadline { self.onResult(nil) }
            }
            try? await Task.sleep(for: .seconds(max(0.05, Self.period - (self.clock.now - started))))
        }
    }
}
