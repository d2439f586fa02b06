import NIOCore
import NIOSSL
import NIOTLS

/// Behind TLS: names and counts a handshake that failed, which nobody else would see.
final class HandshakeWatch: ChannelInboundHandler {
    typealias InboundIn = NIOAny

    private let credentials: LinkCredentials
    private let remote: String
    private var isDone = false

    init(credentials: LinkCredentials, remote: String) {
        self.credentials = credentials
        self.remote = remote
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { self.isDone = true }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !self.isDone {
            self.isDone = true
            let text = "\(error)"
            if text.contains("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
                self.credentials.refuse(.noCertificate, remote: self.remote)
            } else if !text.contains("CERTIFICATE_VERIFY_FAILED") {
                // The check of a certificate that was shown has counted its own reason.
                self.credentials.refuse(.handshake, remote: self.remote, "\(text.prefix(200))")
            }
        }
        context.fireErrorCaught(error)
    }
}
