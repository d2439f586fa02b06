import AsyncHTTPClient
import FleetModel
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization

/// Keeps what the hub and the gateways last told of the fleet.
final class StatusPoller: Sendable {
    private let http: HTTPClient
    private let layout: Layout
    private let state: LoadState
    private let status = Mutex(FleetStatus())

    init(http: HTTPClient, layout: Layout, state: LoadState) {
        self.http = http
        self.layout = layout
        self.state = state
    }

    var current: FleetStatus { self.status.withLock { $0 } }

    /// Asks about twice a second, until cancelled.
    func run() async {
        repeat { await self.ask() } while (try? await Task.sleep(for: .milliseconds(500))) != nil
    }

    private func ask() async {
        var fromGateway: FleetStatus?
        for region in self.layout.geography.regions {
            guard let admin = self.layout.sites[region.name]?.gatewayAdmin else { continue }
            let status: FleetStatus
            do {
                guard let answer = try await self.status(of: admin) else { continue }
                status = answer
                self.state.anycast { $0.answered(region.name) }
            } catch is HTTPClientError {
                // Slow, or cut in the middle: the next time will tell.
                continue
            } catch {
                // No connection: the network's own health check would withdraw it too.
                self.state.anycast { $0.refused(region.name) }
                continue
            }
            // Gateways may differ by a plan for a moment; the newest is the fleet's.
            if (status.plan.generation ?? 0) >= (fromGateway?.plan.generation ?? 0) { fromGateway = status }
        }
        guard !Task.isCancelled else { return }
        let hub = try? await self.status(of: self.layout.hubAdmin)
        self.status.withLock { status in
            if let hub {
                status = hub
            } else if let fromGateway {
                // The hub is lost: the gateways still tell which plan is in force, and nobody tells of clusters.
                status.plan = fromGateway.plan
                status.planAge = fromGateway.planAge
                status.clusters = [:]
            }
        }
    }

    /// - Throws: What the connection threw.
    private func status(of admin: EndpointAddress) async throws -> FleetStatus? {
        let request = HTTPClientRequest(url: "http://\(admin)/v1/status")
        let response = try await self.http.execute(request, timeout: .seconds(1))
        guard response.status == .ok else { return nil }
        return FleetStatus(Data(try await response.body.collect(upTo: 1 << 20).readableBytesView))
    }
}
