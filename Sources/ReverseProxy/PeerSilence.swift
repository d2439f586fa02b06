import FleetModel
import Glibc
import NIOCore

/// How the kernel notices a peer that has gone without a word, such as a region that lost its power.
///
/// A stream may be silent for as long as it likes; the machine at its other end may not. Keep-alive probes find out
/// when nothing is under way, `TCP_USER_TIMEOUT` when something is (RFC 5482, tcp(7)).
enum PeerSilence {
    typealias Option = (name: ChannelOptions.Types.SocketOption, value: CInt)

    /// The first probe after half of the limit, then three.
    static func options(limit: Seconds) -> [Option] {
        func seconds(_ part: Double) -> CInt { CInt(max(1, (limit * part).rounded())) }
        return [
            (.socketOption(.so_keepalive), 1),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPIDLE)), seconds(1 / 2)),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPINTVL)), seconds(1 / 6)),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_KEEPCNT)), 3),
            (.tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), seconds(1) * 1000),
        ]
    }
}
