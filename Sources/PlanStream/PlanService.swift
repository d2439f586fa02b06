package import FleetModel
package import GRPCCore
package import WireProtocol

/// What gateways tell the hub; called from many streams at once.
package protocol PlanAudience: Sendable {
    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?)
    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion)
    func refused(_ gateway: GatewayName, _ version: PlanVersion, reason: String)
    func reported(_ report: DemandReport)
    /// The stream of a gateway ended.
    func left(_ gateway: GatewayName)
    /// A message could not be read; it was dropped and the stream goes on.
    func unreadable(_ error: WireError)
}

/// What a hub replica serves to its gateways at each tick: the plan in force, if there is one.
package struct Announcement: Sendable {
    package var plan: EncodedPlan?

    package init(plan: EncodedPlan?) { self.plan = plan }
}

/// The hub's end of the gateways' streams: the plan when a gateway does not hold it, a heartbeat
/// when it does.
package struct PlanService<Audience: PlanAudience>: Isobar_V1_Plans.SimpleServiceProtocol {
    private let announcements: NewestWins<Announcement>
    private let audience: Audience

    package init(announcements: NewestWins<Announcement>, audience: Audience) {
        self.announcements = announcements
        self.audience = audience
    }

    package func subscribe(
        request: RPCAsyncSequence<Isobar_V1_GatewayMessage, any Error>,
        response: RPCWriter<Isobar_V1_HubMessage>,
        context: ServerContext
    ) async throws {
        var messages = request.makeAsyncIterator()
        guard case .subscribe(let subscribe) = try await messages.next()?.kind else {
            throw RPCError(code: .invalidArgument, message: "the first message must be a Subscribe")
        }
        try context.requirePeer(toSpeakFor: subscribe.region)
        let gateway: GatewayName
        let region: RegionName
        do {
            gateway = try GatewayName(subscribe.gateway)
            region = try RegionName(subscribe.region)
        } catch {
            throw RPCError(code: .invalidArgument, message: error.description)
        }
        let held = subscribe.hasHeld ? subscribe.held.model : nil
        self.audience.subscribed(gateway, region: region, held: held)
        defer { self.audience.left(gateway) }

        let announcements = self.announcements
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var sent = held
                for await announcement in announcements.values() {
                    var message = Isobar_V1_HubMessage()
                    if let plan = announcement.plan, plan.version != sent {
                        message.plan = plan.envelope
                        sent = plan.version
                    } else {
                        let inForce = announcement.plan?.version ?? PlanVersion(epoch: 0, generation: 0)
                        message.heartbeat = Isobar_V1_PlanVersion(inForce)
                    }
                    try await response.write(message)
                }
            }
            while let message = try await messages.next() { self.take(message, from: gateway, in: region) }
            group.cancelAll()
        }
    }

    private func take(_ message: Isobar_V1_GatewayMessage, from gateway: GatewayName, in region: RegionName) {
        switch message.kind {
        case .acknowledgement(let acknowledgement):
            self.audience.acknowledged(gateway, acknowledgement.version.model)
        case .refusal(let refusal):
            self.audience.refused(gateway, refusal.version.model, reason: refusal.reason)
        case .demand(let demand):
            do throws(WireError) {
                let report = try demand.model()
                guard report.gateway == gateway, report.region == region else {
                    let reason = "\(report.gateway) in \(report.region) is not \(gateway) in \(region), who subscribed"
                    throw WireError(field: "demand", reason: reason)
                }
                self.audience.reported(report)
            } catch {
                self.audience.unreadable(error)
            }
        case .subscribe:
            self.audience.unreadable(WireError(field: "subscribe", reason: "sent twice on one stream"))
        case nil:
            self.audience.unreadable(WireError(field: "kind", reason: "empty, or of a newer version than this hub"))
        }
    }
}
