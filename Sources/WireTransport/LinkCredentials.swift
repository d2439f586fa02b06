package import FleetModel
import Foundation
package import Logging
package import NIOCore
import NIOSSL
import ServiceLifecycle
import SwiftASN1
import Synchronization
import X509

/// What a program shows on its links and what it asks of its peers: mutual TLS 1.3, an identity at both ends.
///
/// The files are looked at every ``lookPeriod`` and new ones serve the handshakes that follow, so rotating a
/// certificate drops no stream. Files that cannot be used are counted and the ones in use stay.
package final class LinkCredentials: Service {
    /// How often the files are looked at, in seconds.
    static let lookPeriod: Seconds = 2
    /// Handshakes that wait for their check; the check takes a fraction of a millisecond.
    private static let waitingMax = 256
    /// The same fault is logged at most this often, in seconds; the counter has every one.
    private static let logPeriod: Seconds = 1

    private struct Question: Sendable {
        let certificates: [NIOSSLCertificate]
        let role: Role?
        let name: String?
        let remote: String
        let promise: EventLoopPromise<NIOSSLVerificationResultWithMetadata>
        let onIdentity: @Sendable (Identity) -> Void
    }

    package let counts = LinkCounts()
    private let files: LinkFiles
    private let logger: Logger
    private let loaded: Mutex<LoadedFiles>
    private let lastLogged = Mutex<[LinkFault: ContinuousClock.Instant]>([:])
    private let questions: AsyncStream<Question>
    private let ask: AsyncStream<Question>.Continuation

    /// - Throws: ``LinkFilesFault`` when the files cannot be used.
    package init(files: LinkFiles, logger: Logger) throws(LinkFilesFault) {
        self.files = files
        self.logger = logger
        self.loaded = Mutex(try LoadedFiles(files))
        (self.questions, self.ask) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.waitingMax))
    }

    /// Who this program is.
    package var identity: Identity { self.loaded.withLock { $0.identity } }

    /// The three PEM files, for a program that reads them itself.
    package var paths: LinkFiles { self.files }

    /// The host names and IP addresses in the certificate.
    package var hosts: Set<String> { self.loaded.withLock { $0.hosts } }

    /// What is left of the certificate's life, in seconds; negative when it has expired.
    package var expiresIn: Seconds { self.loaded.withLock { $0.expires }.timeIntervalSinceNow }

    /// Answers handshakes and looks at the files, until the last link has ended.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask {
                    for await question in self.questions { await self.answer(question) }
                }
                group.addTask {
                    while !Task.isCancelled {
                        try? await Task.sleep(for: .seconds(Self.lookPeriod))
                        self.look()
                    }
                }
            }
        }
    }

    /// Takes the files as they are now, if they have changed.
    package func look() {
        let current = self.loaded.withLock { ($0.bytes, $0.identity) }
        do throws(LinkFilesFault) {
            let fresh = try LoadedFiles(self.files)
            guard fresh.bytes != current.0 else { return }
            guard fresh.identity == current.1 else {
                let reason = "is of \(fresh.identity) now; this program runs as \(current.1) until it is restarted"
                throw LinkFilesFault(file: self.files.certificate, reason: reason)
            }
            self.loaded.withLock { $0 = fresh }
            self.counts.reloaded()
            self.logger.info(
                "certificate reloaded",
                metadata: [
                    "identity": "\(fresh.identity)",
                    "expires_in_hours": "\(Int(fresh.expires.timeIntervalSinceNow / 3_600))",
                ]
            )
        } catch {
            self.counts.reloadFailed()
            self.logger.error("certificate not reloaded", metadata: ["reason": "\(error)"])
        }
    }

    /// The TLS handler of one connection that was accepted.
    func serverHandler(remote: String) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: self.loaded.withLock { $0.server }) { certificates, promise in
            self.check(certificates, role: nil, remote: remote, promise: promise)
        }
    }

    /// The TLS handler of one connection to a peer of a role; `onIdentity` is told who it is.
    func clientHandler(
        to role: Role,
        remote: String,
        onIdentity: @escaping @Sendable (Identity) -> Void
    ) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: self.loaded.withLock { $0.client },
            serverHostname: nil,
            customVerificationCallbackWithMetadata: { certificates, promise in
                self.check(certificates, role: role, remote: remote, promise: promise, onIdentity: onIdentity)
            }
        )
    }

    /// The TLS handler of an HTTP connection that another gateway has opened.
    func peerServerHandler(remote: String) -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: self.loaded.withLock { $0.peerServer }) { certificates, promise in
            self.check(certificates, role: .gateway, remote: remote, promise: promise)
        }
    }

    /// The TLS handler of an HTTP connection to the gateway of a region.
    func peerClientHandler(remote: String, name: String, usesHTTP2: Bool) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: self.loaded.withLock { usesHTTP2 ? $0.peerStreams : $0.peerClient },
            serverHostname: nil,
            customVerificationCallbackWithMetadata: { certificates, promise in
                self.check(certificates, role: .gateway, name: name, remote: remote, promise: promise)
            }
        )
    }

    /// Puts mutual TLS below a connection that this program makes; on the channel's event loop.
    ///
    /// - Parameters:
    ///   - channel: The connection.
    ///   - role: What the other end must be.
    ///   - address: Where it is, for messages.
    ///   - onIdentity: Told who it is.
    /// - Throws: When the certificate in use cannot be used.
    package func secure(
        _ channel: any Channel,
        to role: Role,
        at address: EndpointAddress,
        onIdentity: @escaping @Sendable (Identity) -> Void = { _ in }
    ) throws {
        let remote = address.description
        try channel.pipeline.syncOperations.addHandlers(
            try self.clientHandler(to: role, remote: remote, onIdentity: onIdentity),
            HandshakeWatch(credentials: self, remote: remote),
            position: .first
        )
    }

    /// Counts a refusal and says it in the log.
    func refuse(_ fault: LinkFault, remote: String, _ detail: String = "") {
        self.counts.refused(fault)
        let now = ContinuousClock.now
        let isNews = self.lastLogged.withLock { last in
            if let before = last[fault], now - before < .seconds(Self.logPeriod) { return false }
            last[fault] = now
            return true
        }
        guard isNews else { return }
        var metadata: Logger.Metadata = ["reason": "\(fault.rawValue)", "peer": "\(remote)"]
        if !detail.isEmpty { metadata["detail"] = "\(detail)" }
        self.logger.warning("link refused", metadata: metadata)
    }

    private func check(
        _ certificates: [NIOSSLCertificate],
        role: Role?,
        name: String? = nil,
        remote: String,
        promise: EventLoopPromise<NIOSSLVerificationResultWithMetadata>,
        onIdentity: @escaping @Sendable (Identity) -> Void = { _ in }
    ) {
        let question = Question(
            certificates: certificates,
            role: role,
            name: name,
            remote: remote,
            promise: promise,
            onIdentity: onIdentity
        )
        switch self.ask.yield(question) {
        case .enqueued: break
        case .dropped, .terminated: fallthrough
        @unknown default:
            self.refuse(.busy, remote: remote)
            promise.succeed(.failed)
        }
    }

    private func answer(_ question: Question) async {
        let (authorities, fleet) = self.loaded.withLock { ($0.authorities, $0.identity.fleet) }
        let chain = question.certificates.compactMap { certificate in
            (try? certificate.toDERBytes()).flatMap { try? Certificate(derEncoded: $0) }
        }
        do throws(LinkFault) {
            let identity = try await PeerCheck.identify(
                chain,
                authorities: authorities,
                fleet: fleet,
                role: question.role
            )
            if let name = question.name, identity.name != name { throw .wrongName }
            self.counts.shookHands()
            question.onIdentity(identity)
            // The peer's own certificate, which the calls on this connection go by; the rest has served its purpose.
            let leaf = NIOSSL.ValidatedCertificateChain(Array(question.certificates.prefix(1)))
            question.promise.succeed(.certificateVerified(VerificationMetadata(leaf)))
        } catch {
            let shown = (try? chain.first?.identity()).flatMap { $0 }.map { "\($0)" } ?? "no identity"
            self.refuse(error, remote: question.remote, "shown: \(shown)")
            question.promise.succeed(.failed)
        }
    }
}
