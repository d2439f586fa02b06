package import FleetModel
import Foundation
package import GRPCCore
package import WireProtocol

/// What a gateway does with what a hub says.
package protocol PlanReceiver: Sendable {
    /// The newest plan held, from wherever it came.
    var held: EncodedPlan? { get }

    /// Takes a plan. One of the version held and with another hash is taken as well: it is the same plan for a gateway
    /// whose pools or region are others than when it wrote its file.
    ///
    /// - Returns: `nil` when it was taken or was already held, or why it was refused.
    func receive(_ plan: Plan, encoded: EncodedPlan) -> String?

    /// The hub says that the plan held is still in force.
    func heartbeat()

    /// A delta did not fit, and the body was asked for.
    func unfit(_ reason: String)

    /// The stream to one hub replica ended; another one is made after a pause.
    func lost(hub: EndpointAddress, reason: String)
}

/// A gateway's end of its stream to one hub replica.
package struct PlanSubscriber<Transport: ClientTransport, Receiver: PlanReceiver>: Sendable {
    package let hub: EndpointAddress
    private let client: Isobar_V1_Plans.Client<Transport>
    private let gateway: GatewayName
    private let scope: PlanScope
    private let reports: NewestWins<DemandReport>
    private let receiver: Receiver

    package init(
        hub: EndpointAddress,
        client: GRPCClient<Transport>,
        gateway: GatewayName,
        scope: PlanScope,
        reports: NewestWins<DemandReport>,
        receiver: Receiver
    ) {
        self.hub = hub
        self.client = Isobar_V1_Plans.Client(wrapping: client)
        self.gateway = gateway
        self.scope = scope
        self.reports = reports
        self.receiver = receiver
    }

    /// Subscribes over as many streams as it takes; ends when cancelled.
    package func run() async {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            if await self.attend() { backoff.reset() }
            try? await Task.sleep(for: .seconds(backoff.pause(using: &dice)))
        }
    }

    /// Holds one stream until it ends or the task is cancelled.
    ///
    /// - Returns: Whether the hub said anything: then there is no reason to wait long for the next stream.
    package func attend() async -> Bool {
        let isHeard = Once()
        do {
            try await self.subscribe(isHeard)
            if !Task.isCancelled { self.receiver.lost(hub: self.hub, reason: "the hub ended the stream") }
        } catch {
            if !Task.isCancelled { self.receiver.lost(hub: self.hub, reason: "\(error)") }
        }
        return isHeard.happened
    }

    private func subscribe(_ isHeard: Once) async throws {
        // Bounded: an acknowledgement that is pushed out is followed by that of a newer plan.
        let (upward, outbox) = AsyncStream.makeStream(
            of: Isobar_V1_GatewayMessage.self,
            bufferingPolicy: .bufferingNewest(16)
        )
        var subscribe = Isobar_V1_GatewayMessage()
        subscribe.subscribe.gateway = self.gateway.text
        subscribe.subscribe.region = self.scope.region.text
        subscribe.subscribe.pools = self.scope.pools.map(\.description)
        if let held = self.receiver.held {
            subscribe.subscribe.held = Isobar_V1_PlanVersion(held.version)
            subscribe.subscribe.hash = held.hash
        }
        let first = subscribe

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await report in self.reports.values() {
                    var message = Isobar_V1_GatewayMessage()
                    message.demand = Isobar_V1_DemandReport(report)
                    outbox.yield(message)
                }
            }
            group.addTask {
                try await self.client.subscribe { writer in
                    try await writer.write(first)
                    for await message in upward { try await writer.write(message) }
                } onResponse: { response in
                    for try await message in response.messages {
                        isHeard.happens()
                        if let answer = self.take(message) { outbox.yield(answer) }
                    }
                    outbox.finish()
                }
            }
            // Whichever ends first ends the stream.
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func take(_ message: Isobar_V1_HubMessage) -> Isobar_V1_GatewayMessage? {
        switch message.kind {
        case .plan(let envelope):
            do throws(PlanUnreadable) {
                return self.answer(try EncodedPlan(checking: envelope))
            } catch {
                var answer = Isobar_V1_GatewayMessage()
                answer.refusal.reason = error.reason
                return answer
            }
        case .delta(let delta):
            return self.answer(delta)
        case .heartbeat(let version):
            // A hub that holds another plan, or none, cannot vouch for this one.
            if version.model == self.receiver.held?.version { self.receiver.heartbeat() }
            return nil
        case nil:
            return nil
        }
    }

    private func answer(_ encoded: EncodedPlan) -> Isobar_V1_GatewayMessage {
        var answer = Isobar_V1_GatewayMessage()
        let version = Isobar_V1_PlanVersion(encoded.version)
        do throws(PlanUnreadable) {
            if let reason = self.receiver.receive(try encoded.plan(), encoded: encoded) {
                answer.refusal.version = version
                answer.refusal.reason = reason
            } else {
                answer.acknowledgement.version = version
            }
        } catch {
            answer.refusal.version = version
            answer.refusal.reason = error.reason
        }
        return answer
    }

    private func answer(_ delta: Isobar_V1_PlanDelta) -> Isobar_V1_GatewayMessage {
        do throws(PlanUnreadable) {
            guard let held = self.receiver.held else { throw PlanUnreadable(reason: "no plan is held") }
            // The other replica was faster: what the delta makes is there already.
            return self.answer(held.hash == delta.hash ? held : try held.applying(delta))
        } catch {
            self.receiver.unfit(error.reason)
            var answer = Isobar_V1_GatewayMessage()
            answer.resend.reason = error.reason
            return answer
        }
    }
}
