import FleetModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import NIOSSL
import SwiftASN1
import WireProtocol
import X509

/// Before every call: who calls, and may that role call this.
struct CallGuard: ServerInterceptor {
    let credentials: LinkCredentials

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>,
        context: ServerContext,
        next:
            @concurrent @Sendable (StreamingServerRequest<Input>, ServerContext) async throws ->
            StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        var guarded = context
        guarded.transportSpecific = try self.peer(
            // Only a chain that this program has checked itself: a resumed session would carry none.
            showing: transport?.peerCertificateChain?.leaf,
            remote: context.remotePeer,
            calling: context.descriptor.service.fullyQualifiedService
        )
        return try await next(request, guarded)
    }

    /// The peer of a connection whose stream is no gRPC call of the transport.
    ///
    /// - Parameters:
    ///   - connection: The connection.
    ///   - remote: Its address, for the log.
    ///   - path: The method, as in `/isobar.v1.Plans/Subscribe`.
    /// - Returns: Who it is.
    /// - Throws: `permissionDenied` when the peer may not call it.
    func peer(of connection: (any Channel)?, remote: String, calling path: String) throws(RPCError) -> LinkPeer {
        let tls = try? connection?.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        let chain = tls?.peerValidatedCertificateChain
        let leaf = (try? chain?.first?.toDERBytes()).flatMap { try? Certificate(derEncoded: $0) }
        let service = path.split(separator: "/").first.map(String.init) ?? path
        return try self.peer(showing: leaf, remote: remote, calling: service)
    }

    private func peer(
        showing leaf: Certificate?,
        remote: String,
        calling service: String
    ) throws(RPCError) -> LinkPeer {
        do throws(LinkFault) {
            guard let leaf else { throw .noCertificate }
            // The connection may be older than the certificate's end.
            guard leaf.notValidAfter > Date() else { throw .expired }
            let identity = try leaf.identity()
            let callers = LinkPeer.callers[service] ?? []
            guard callers.contains(identity.role) else { throw .wrongRole }
            let credentials = self.credentials
            return LinkPeer(identity) { credentials.refuse(.wrongName, remote: remote, $0) }
        } catch {
            self.credentials.refuse(error, remote: remote, "called: \(service)")
            throw RPCError(code: .permissionDenied, message: "\(error.rawValue): may not call \(service)")
        }
    }
}
