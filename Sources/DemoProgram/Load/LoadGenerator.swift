import FleetModel

/// Sends the requests of a workload when they are due, and waits for their answers.
struct LoadGenerator: Sendable {
    /// Requests in flight at most; those beyond it wait, and count as late.
    static let mostInFlight = 2_048
    /// A request sent this long after it was due counts as late, in seconds.
    static let lateness: Seconds = 0.1
    /// How long after the last send answers are waited for, in seconds; what still runs then counts as unfinished.
    static let drain: Seconds = 45

    let client: ChatClient

    /// Sends for `duration` seconds (`nil`: until the task is cancelled) and returns when the answers are in.
    func run(_ workload: Workload, duration: Seconds?) async {
        await withDiscardingTaskGroup { group in
            do {
                try await self.send(workload, duration: duration) { arrival, isLate in
                    group.addTask { await self.client.perform(arrival, isLate: isLate) }
                }
                let last = self.client.clock.now
                while self.inFlight > 0, self.client.clock.now < last + Self.drain {
                    try await Task.sleep(for: .milliseconds(50))
                }
            } catch {
                // The run was cancelled: what is in flight is cancelled below and counts as unfinished.
            }
            group.cancelAll()
        }
    }

    private var inFlight: Int { self.client.state.ledger { $0.inFlight } }

    private func send(
        _ workload: Workload,
        duration: Seconds?,
        _ start: (Arrival, _ isLate: Bool) -> Void
    ) async throws {
        let clock = self.client.clock
        var workload = workload
        while true {
            let arrival = workload.next()
            if let duration, arrival.time >= duration { return try await clock.sleep(until: duration) }
            try await clock.sleep(until: arrival.time)
            while self.inFlight >= Self.mostInFlight { try await Task.sleep(for: .milliseconds(5)) }
            start(arrival, clock.now - arrival.time > Self.lateness)
        }
    }
}
