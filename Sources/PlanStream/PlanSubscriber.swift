package import FleetModel
package import GRPCCore
package import WireProtocol

/// What a gateway does with what a hub says.
package protocol PlanReceiver: Sendable {
    /// The newest version held, from wherever it came.
    var held: PlanVersion? { get }

    /// Takes a plan.
    ///
    /// - Returns: `nil` when it was taken or was already held, or why it was refused.
    func receive(_ plan: Plan, encoded: EncodedPlan) -> String?

    /// The hub says that the plan held is still in force.
    func heartbeat()

    /// The stream to one hub replica ended; it is made anew after the pause, in seconds.
    func lost(hub: EndpointAddress, reason: String, retryIn: Seconds)
}

/// A gateway's end of its stream to one hub replica.
package struct PlanSubscriber<Transport: ClientTransport, Receiver: PlanReceiver>: Sendable {
    package let hub: EndpointAddress
    private let client: Isobar_V1_Plans.Client<Transport>
    private let gateway: GatewayName
    private let region: RegionName
    private let reports: NewestWins<DemandReport>
    private let receiver: Receiver

    package init(
        hub: EndpointAddress,
        client: GRPCClient<Transport>,
        gateway: GatewayName,
        region: RegionName,
        reports: NewestWins<DemandReport>,
        receiver: Receiver
    ) {
        self.hub = hub
        self.client = Isobar_V1_Plans.Client(wrapping: client)
        self.gateway = gateway
        self.region = region
        self.reports = reports
        self.receiver = receiver
    }

    /// Subscribes over as many streams as it takes; ends when cancelled.
    package func run() async {
        var backoff = Backoff()
        var dice = SystemRandomNumberGenerator()
        while !Task.isCancelled {
            let pause = backoff.pause(using: &dice)
            if await self.attend(retryIn: pause) { backoff.reset() }
            try? await Task.sleep(for: .seconds(pause))
        }
    }

    /// Holds one stream until it ends or the task is cancelled.
    ///
    /// - Parameter retryIn: When it will be made anew, in seconds, for the receiver's log.
    /// - Returns: Whether the hub ended it in an orderly way.
    package func attend(retryIn: Seconds) async -> Bool {
        do {
            try await self.subscribe()
            if !Task.isCancelled {
                self.receiver.lost(hub: self.hub, reason: "the hub ended the stream", retryIn: retryIn)
            }
            return true
        } catch {
            if !Task.isCancelled { self.receiver.lost(hub: self.hub, reason: "\(error)", retryIn: retryIn) }
            return false
        }
    }

    private func subscribe() async throws {
        // Bounded: an acknowledgement that is pushed out is followed by that of a newer plan.
        let (upward, outbox) = AsyncStream.makeStream(
            of: Isobar_V1_GatewayMessage.self,
            bufferingPolicy: .bufferingNewest(16)
        )
        var subscribe = Isobar_V1_GatewayMessage()
        subscribe.subscribe.gateway = self.gateway.text
        subscribe.subscribe.region = self.region.text
        if let held = self.receiver.held { subscribe.subscribe.held = Isobar_V1_PlanVersion(held) }
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
            var answer = Isobar_V1_GatewayMessage()
            do throws(PlanUnreadable) {
                let plan = try Plan(envelope)
                let version = Isobar_V1_PlanVersion(plan.version)
                if let reason = self.receiver.receive(plan, encoded: EncodedPlan(plan.version, envelope)) {
                    answer.refusal.version = version
                    answer.refusal.reason = reason
                } else {
                    answer.acknowledgement.version = version
                }
            } catch {
                answer.refusal.reason = error.reason
            }
            return answer
        case .heartbeat(let version):
            // A hub that holds another plan, or none, cannot vouch for this one.
            if version.model == self.receiver.held { self.receiver.heartbeat() }
            return nil
        case nil:
            return nil
        }
    }
}
