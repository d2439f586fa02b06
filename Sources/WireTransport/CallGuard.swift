import FleetModel
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
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
        var guarded = context
        do throws(LinkFault) {
            guarded.transportSpecific = try self.peer(of: context)
        } catch {
            let service = context.descriptor.service.fullyQualifiedService
            let reason = "\(error.rawValue): may not call \(service)"
            self.credentials.refuse(error, remote: context.remotePeer, "called: \(service)")
            throw RPCError(code: .permissionDenied, message: reason)
        }
        return try await next(request, guarded)
    }

    private func peer(of context: ServerContext) throws(LinkFault) -> LinkPeer {
        let transport = context.transportSpecific as? HTTP2ServerTransport.Posix.Context
        // Only a chain that this program has checked itself: a resumed session would carry none.
        guard let leaf = transport?.peerCertificateChain?.leaf else { throw .noCertificate }
        // The connection may be older than the certificate's end.
        guard leaf.notValidAfter > Date() else { throw .expired }
        let identity = try leaf.identity()
        let callers = LinkPeer.callers[context.descriptor.service.fullyQualifiedService] ?? []
        guard callers.contains(identity.role) else { throw .wrongRole }
        let (credentials, remote) = (self.credentials, context.remotePeer)
        return LinkPeer(identity) { credentials.refuse(.wrongName, remote: remote, $0) }
    }
}
