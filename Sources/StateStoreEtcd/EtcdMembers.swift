import EtcdAPI
import FleetModel
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import StateStore
import Synchronization

/// One member of the etcd cluster, over a connection of its own.
struct EtcdMember: Sendable {
    typealias Transport = HTTP2ClientTransport.Posix

    let address: EndpointAddress
    let client: GRPCClient<Transport>

    init(_ address: EndpointAddress, _ security: Transport.TransportSecurity) throws {
        self.address = address
        self.client = GRPCClient(
            transport: try Transport(
                target: .dns(host: address.host, port: address.port),
                transportSecurity: security,
                config: .defaults { config in
                    config.backoff = .init(initial: .milliseconds(50), max: .seconds(1), multiplier: 1.6, jitter: 0.2)
                    // A call waits for its own write, not for company.
                    config.connection.flushCoalescing = nil
                    config.connection.keepalive = .init(
                        time: .seconds(10),
                        timeout: .seconds(3),
                        allowWithoutCalls: true
                    )
                    config.channelDebuggingCallbacks.onCreateTCPConnection = { PingAbsorber.install(in: $0) }
                }
            )
        )
    }

    var keys: Etcdserverpb_KV.Client<Transport> { .init(wrapping: self.client) }
    var leases: Etcdserverpb_Lease.Client<Transport> { .init(wrapping: self.client) }
    var watches: Etcdserverpb_Watch.Client<Transport> { .init(wrapping: self.client) }
    var maintenance: Etcdserverpb_Maintenance.Client<Transport> { .init(wrapping: self.client) }
}

/// All members, and which of them is asked.
///
/// One client a member, since a client of several addresses would stay with the first for ever. A member that does not
/// answer hands over to the next, and whoever watches through it moves along.
final class EtcdMembers: Sendable {
    let all: [EtcdMember]
    /// How long one member may take for one call.
    let patience: Duration
    /// Rings when another member is asked from now on.
    let moved = StoreBell()
    private let place = Mutex(0)

    init(_ all: [EtcdMember], patience: Duration) {
        self.all = all
        self.patience = patience
    }

    /// The one that is asked, by its place.
    var preferred: Int { self.place.withLock { $0 } }

    /// The member at a place did not answer: the next one is asked from now on.
    func leave(_ failed: Int) {
        let moves = self.place.withLock { place in
            guard place == failed else { return false }
            place = (failed + 1) % self.all.count
            return true
        }
        if moves { self.moved.ring() }
    }

    var options: CallOptions {
        var options = CallOptions.defaults
        options.timeout = self.patience
        options.waitForReady = false
        return options
    }

    /// Asks members in turn until one answers; only for what may be asked twice.
    ///
    /// - Throws: ``StoreError`` when none has answered after two rounds, or when one refused.
    func ask<Answer: Sendable>(
        _ operation: String,
        _ body: (EtcdMember, CallOptions) async throws -> Answer
    ) async throws(StoreError) -> Answer {
        var reasons: [String] = []
        for attempt in 0..<max(3, 2 * self.all.count) {
            let place = self.preferred
            do {
                return try await body(self.all[place], self.options)
            } catch {
                if Task.isCancelled { throw StoreError(operation: operation, reason: "cancelled") }
                switch EtcdFailure(error) {
                case .refused(let reason): throw StoreError(operation: operation, reason: reason)
                case .leaseEnded: throw StoreError(operation: operation, reason: "not found")
                case .unclear(let reason): reasons.append("\(self.all[place].address): \(reason)")
                }
                self.leave(place)
            }
            // A round of refused connections is over in no time.
            if attempt % self.all.count == self.all.count - 1 { try? await Task.sleep(for: .milliseconds(50)) }
        }
        throw StoreError(
            operation: operation,
            reason: "no member answered: \(Set(reasons).sorted().joined(separator: "; "))"
        )
    }
}
