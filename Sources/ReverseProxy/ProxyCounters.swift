import Synchronization

/// What a ``ProxyServer`` has open and has counted since its start.
package struct ProxyCounters: Hashable, Sendable {
    /// Client connections.
    package var connectionsOpen = 0
    /// Client connections closed at once because ``ProxySettings/maxConnections`` were open, or
    /// ``ProxySettings/maxHandshakes`` under way.
    package var connectionsRefused = 0
    /// Streams of HTTP/2 connections that are not over.
    package var streamsOpen = 0
    /// Streams begun.
    package var streams = 0
    /// HTTP/2 connections closed because the client broke the protocol or flooded it.
    package var http2Faults = 0
    /// TLS handshakes of clients that succeeded.
    package var handshakes = 0
    /// TLS handshakes that failed, were left or took too long.
    package var handshakesFailed = 0
    /// Requests whose exchange is not over.
    package var requestsInFlight = 0
    /// Requests begun.
    package var requests = 0
    /// Requests refused because they were malformed, too large or not to be proxied.
    package var requestsRefused = 0
    /// Tries after the first of a request.
    package var retries = 0
    /// Requests answered with 504 because their own deadline passed.
    package var deadlines = 0
    /// Requests for which a second try beside the first was asked for.
    package var hedges = 0
    /// Tries repeated on a fresh connection, because a kept one turned out to be closed.
    package var staleConnections = 0
    /// Answers that ended in the middle because the upstream died.
    package var cuts = 0
    /// Requests whose client went away, or was too slow, before the end of the answer.
    package var cancellations = 0
    /// Upstream connections, idle ones included.
    package var upstreamOpen = 0
    /// Upstream connections that wait for a request.
    package var upstreamIdle = 0

    package init() {}

    static func += (sum: inout Self, one: Self) {
        sum.connectionsOpen += one.connectionsOpen
        sum.connectionsRefused += one.connectionsRefused
        sum.streamsOpen += one.streamsOpen
        sum.streams += one.streams
        sum.http2Faults += one.http2Faults
        sum.handshakes += one.handshakes
        sum.handshakesFailed += one.handshakesFailed
        sum.requestsInFlight += one.requestsInFlight
        sum.requests += one.requests
        sum.requestsRefused += one.requestsRefused
        sum.retries += one.retries
        sum.deadlines += one.deadlines
        sum.hedges += one.hedges
        sum.staleConnections += one.staleConnections
        sum.cuts += one.cuts
        sum.cancellations += one.cancellations
        sum.upstreamOpen += one.upstreamOpen
        sum.upstreamIdle += one.upstreamIdle
    }
}

/// One event loop's share of the counters: written there, read from anywhere.
final class SharedCounters: Sendable {
    private let values = Mutex(ProxyCounters())

    var snapshot: ProxyCounters { self.values.withLock { $0 } }

    func count(_ change: (inout ProxyCounters) -> Void) {
        self.values.withLock { change(&$0) }
    }
}
