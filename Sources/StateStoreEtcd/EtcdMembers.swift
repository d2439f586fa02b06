import EtcdAPI
import FleetModel
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import StateStore
import Synchronization
import WireTransport

/// One member of the etcd cluster, over a connection of its own.
struct EtcdMember: Sendable {
    typealias Transport = HTTP2ClientTransport.Posix

    let address: EndpointAddress
    let client: GRPCClient<Transport>

    init(_ address: EndpointAddress, _ security: EtcdSecurity) throws {
        self.address = address
        self.client = GRPCClient(
            transport: try Transport(
                target: address.target,
                transportSecurity: security.ofTransport,
                config: .defaults { config in
                    config.backoff = .init(initial: .milliseconds(50), max: .seconds(1), multiplier: 1.6, jitter: 0.2)
                    // A call waits for its own write, not for company.
                    config.connection.flushCoalescing = nil
                    config.connection.keepalive = .init(
                        time: .seconds(10),
                        timeout: .seconds(3),
                        allowWithoutCalls: true
                    )
                    config.channelDebuggingCallbacks.onCreateTCPConnection = { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try PingAbsorber.install(in: channel)
                            guard case .links(let credentials) = security else { return }
                            try credentials.secure(channel, to: .hub, at: address)
                        }
                    }
                }
            )
        )
    }

    var keys: Etcdserverpb_KV.Client<Transport> { .init(wrapping: self.client) }
    var leases: Etcdserverpb_Lease.Client<Transport> { .init(wrapping: self.client) }
    var watches: Etcdserverpb_Watch.Client<Transport> { .init(wrapping: self.client) }
    var maintenance: Etcdserverpb_Maintenance.Client<Transport> { .init(wrapping: self.client) }
    var cluster: Etcdserverpb_Cluster.Client<Transport> { .init(wrapping: self.client) }
}

extension EndpointAddress {
    /// An IP address is taken as it is: as the name of a server, TLS would refuse it.
    fileprivate var target: any ResolvableTarget {
        if self.host.contains(":") { return .ipv6(address: self.host, port: self.port) }
        let isAddress = self.host.allSatisfy { $0.isASCII && ($0.isNumber || $0 == ".") }
        return isAddress
            ? .ipv4(address: self.host, port: self.port) : .dns(host: self.host, port: self.port)
    }
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
    private let security: EtcdSecurity
    private let place = Mutex(0)

    init(_ all: [EtcdMember], _ security: EtcdSecurity, patience: Duration) {
        self.all = all
        self.security = security
        self.patience = patience
    }

    /// What an error means, with the field that mends it.
    func failure(_ error: any Error) -> EtcdFailure { EtcdFailure(error, self.security) }

    /// Bytes of one answer: a page of ``EtcdStore/pageLength`` of the largest values that etcd takes.
    static let answerMax = 64 << 20

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

    /// For a call that lasts.
    var streamOptions: CallOptions {
        var options = self.options
        options.timeout = nil
        return options
    }

    var options: CallOptions {
        var options = CallOptions.defaults
        options.timeout = self.patience
        options.waitForReady = false
        options.maxResponseMessageBytes = Self.answerMax
        // grpc-swift-nio-transport 2.9 holds answers to the limit of requests.
        options.maxRequestMessageBytes = Self.answerMax
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
                switch self.failure(error) {
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
