package import FleetModel

/// The limits and time-outs of a ``ProxyServer``.
package struct ProxySettings: Hashable, Sendable {
    /// Tries of one request, the first included; a target that takes nothing (``ProxyFailure/tookNothing``) has
    /// not been tried.
    package var maxTries = 3
    /// Targets of one request, those that take nothing included.
    package var maxTargets = 8
    /// How much of a request's body is kept for another try, in bytes.
    ///
    /// A request is not tried again once more than this was sent.
    package var replayLimit = 1 << 20
    /// How much of a request's body a director may see, in bytes; no more than ``replayLimit``.
    package var peekLimit = 64 << 10
    /// How long a connection to an upstream may take, in seconds.
    package var connectTimeout: Seconds = 1
    /// How long an upstream may take from the request's head to the answer's head, in seconds.
    ///
    /// Prefill of a long prompt behind a queue takes minutes.
    package var responseTimeout: Seconds = 300
    /// How long a client may take to send a request's head or the next bytes of its body, to read when the answer
    /// waits for it, or to end a closing connection, in seconds.
    ///
    /// It does not limit how long an answer may take or pause.
    package var clientTimeout: Seconds = 60
    /// How long the machine of an upstream may be silent before its connections are given up, in seconds.
    ///
    /// An answer may pause for longer. For clients it is ``clientTimeout``.
    package var silenceTimeout: Seconds = 15
    /// Idle connections kept per endpoint and event loop.
    package var idleConnections = 64
    /// How long an idle upstream connection is kept, in seconds: less than the upstream's own time-out
    /// (uvicorn, under vLLM: 5 s), so that it seldom closes one that is just taken.
    package var idleTimeout: Seconds = 4
    /// All header names and values of a message, in bytes; more is answered with 431.
    package var headerLimit = 64 << 10
    /// The longest body of a request, in bytes; more is answered with 413.
    package var bodyLimit = 64 << 20
    /// How much of a request's body is read and dropped, in bytes, to keep a connection whose answer came early.
    package var discardLimit = 1 << 20
    /// Client connections; those beyond it are closed at once and counted.
    package var maxConnections = 50_000
    /// How long exchanges in flight may take to finish at a graceful shutdown, in seconds.
    package var drainTimeout: Seconds = 30
    /// How long a TLS handshake may take, in seconds.
    package var handshakeTimeout: Seconds = 10
    /// TLS handshakes under way at once; connections beyond it are closed at once and counted.
    package var maxHandshakes = 1_024
    /// How often a request that claims it may have passed gateways before it is taken for a loop.
    package var maxHops = 8
    package var http2 = HTTP2()
    /// The name that stands in `via`: the same for all gateways of a fleet, so that ``ProxiedRequest/hops`` counts them.
    package var viaName = "isobar"

    package init() {}

    /// The limits of one HTTP/2 connection of a client.
    package struct HTTP2: Hashable, Sendable {
        /// Streams at once.
        package var maxStreams = 128
        /// What a client may send on one stream, and on all, before it is read, in bytes.
        package var streamWindow = 256 << 10
        package var connectionWindow = 4 << 20
        /// Answers to PING and SETTINGS that a client that does not read may leave in memory.
        package var maxControlFramesWaiting = 10_000
        /// Within how many seconds the following are counted.
        package var window: Seconds = 30
        /// PING, SETTINGS and PRIORITY frames.
        package var maxControlFrames = 30_000
        /// Streams that the client resets: somebody who puts many users on one connection resets one for each who left.
        package var maxResets = 1_000
        /// Streams that end in an error of the protocol.
        package var maxStreamErrors = 200

        package init() {}
    }

    /// Takes no more clients than so many open files can serve.
    ///
    /// Each client may need an upstream connection, and a program needs some files for itself. A client too many is
    /// closed at once and counted; without files left, those that are served could not be passed on either, and the
    /// listener would spin on what it cannot accept.
    package mutating func fit(files: Int) {
        self.maxConnections = min(self.maxConnections, max(1, (files - Self.filesKept) / 2))
    }

    /// Files for links, logs, pages and the listener.
    private static let filesKept = 64
}
