import AsyncHTTPClient
import FleetModel
import NIOCore
import Observability

/// Asks a gateway of another region, again and again, whether it is there and how far away.
struct PeerProbe: Sendable {
    /// Half a second keeps the loss of a region from being noticed by requests first.
    static let period: Seconds = 0.5
    static let deadline: Seconds = 1

    let region: RegionName
    let address: EndpointAddress
    let client: HTTPClient
    let clock: MonotonicClock
    let onResult: @Sendable (Seconds?) -> Void

    /// Probes until cancelled.
    func run() async {
        var silent = 0
        while !Task.isCancelled {
            let started = self.clock.now
            do {
                let request = HTTPClientRequest(url: "http://\(self.address)\(Gateway.pingPath)")
                _ = try await self.client.execute(request, timeout: .milliseconds(Int64(Self.deadline * 1_000)))
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
