#if canImport(Glibc)
import Glibc
private let streamType = Int32(SOCK_STREAM.rawValue)
#elseif canImport(Musl)
import Musl
private let streamType = SOCK_STREAM
#else
import Darwin
private let streamType = SOCK_STREAM
#endif

/// Ports of loopback for processes that must know each other's before they start.
///
/// Each is kept by a socket that is bound to it, never listens, and stays open until this process ends. On Linux such a
/// socket refuses the port to whoever looks for a free one, in this process or another, but not to a server: one that
/// sets `SO_REUSEADDR`, as servers do, may listen there, end, and listen again. So what was given here stays given, also
/// while the process that was told of it has not begun to listen. On a system where it refuses servers too, ports are
/// only looked for.
///
/// The ports lie below the range from which the system takes ports by itself (from 32,768 on Linux), so that no
/// connection and no listener of port 0 takes one.
package enum FreePorts {
    /// Free ports that differ, in no order.
    ///
    /// - Throws: ``Exhausted`` when fewer are free.
    package static func take(_ count: Int) throws(Exhausted) -> [Int] {
        var kept: [(port: UInt16, socket: Int32)] = []
        for port in self.range.shuffled() {
            guard kept.count < count else { break }
            if let socket = self.bound(to: port) { kept.append((port, socket)) }
        }
        if kept.count < count || !self.isShared { for one in kept { close(one.socket) } }
        guard kept.count == count else { throw Exhausted(wanted: count, found: kept.count) }
        return kept.map { Int($0.port) }
    }

    private static let range = UInt16(10_240)..<32_768

    /// Whether this system lets a server listen where a socket of ours is bound.
    package static let isShared: Bool = {
        for port in range.shuffled() {
            guard let ours = bound(to: port) else { continue }
            defer { close(ours) }
            guard let server = bound(to: port, asServer: true) else { return false }
            defer { close(server) }
            return listen(server, 1) == 0
        }
        return false
    }()

    /// A socket that is bound to a port and does not listen, or nil when the port is not free.
    private static func bound(to port: UInt16, asServer isServer: Bool = false) -> Int32? {
        let descriptor = socket(AF_INET, streamType, 0)
        guard descriptor >= 0 else { return nil }
        func share() -> Bool {
            var yes: Int32 = 1
            return setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size)) == 0
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        // Ours is bound without SO_REUSEADDR, so that it fails where another is bound, and only then shared with servers.
        // No child inherits it: one that outlived this process would keep the port.
        let isKept =
            (!isServer || share())
            && withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
            } == 0
            && share()
            && fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        if !isKept { close(descriptor) }
        return isKept ? descriptor : nil
    }

    /// Too few ports of the range are free.
    package struct Exhausted: Error, CustomStringConvertible {
        package let wanted: Int
        package let found: Int

        package var description: String {
            "of \(self.wanted) ports of loopback between 10240 and 32767 only \(self.found) are free"
        }
    }
}
