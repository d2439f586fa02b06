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

    /// Asks about once a second, until cancelled.
    func run() async {
        repeat { await self.ask() } while (try? await Task.sleep(for: .seconds(1))) != nil
    }

    private func ask() async {
        var fromGateway: FleetStatus?
        for region in self.layout.geography.regions {
            guard let admin = self.layout.sites[region.name]?.gatewayAdmin, let status = await self.status(of: admin)
            else { continue }
            self.state.anycast { $0.answered(region.name) }
            // Gateways may differ by a plan for a moment; the newest is the fleet's.
            if (status.plan.generation ?? 0) >= (fromGateway?.plan.generation ?? 0) { fromGateway = status }
        }
        guard !Task.isCancelled else { return }
        let hub = await self.status(of: self.layout.hubAdmin)
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

    private func status(of admin: EndpointAddress) async -> FleetStatus? {
        let request = HTTPClientRequest(url: "http://\(admin)/v1/status")
        guard let response = try? await self.http.execute(request, timeout: .seconds(1)), response.status == .ok,
            let body = try? await response.body.collect(upTo: 1 << 20)
        else { return nil }
        return FleetStatus(Data(body.readableBytesView))
    }
}
