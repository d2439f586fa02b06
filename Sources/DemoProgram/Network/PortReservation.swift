import FleetModel
import NIOCore
import NIOPosix

/// Free ports on loopback, chosen before the processes that will listen on them are started, since they must know
/// each other's addresses beforehand.
///
/// They lie below the range from which the kernel takes ports by itself (from 32,768 on Linux), so that no connection
/// takes one; all are held at once so that they differ, and let go together. Another program that is told a port may
/// still take one before the child does: the child then says that the address is in use, and the demo starts over with
/// other ports.
enum PortReservation {
    /// - Throws: ``NoPorts`` when too few are free.
    static func reserve(_ count: Int, on group: any EventLoopGroup) async throws -> [EndpointAddress] {
        var held: [any Channel] = []
        for port in (10_240..<32_768).shuffled() where held.count < count {
            guard let channel = try? await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: port).get()
            else { continue }
            held.append(channel)
        }
        let addresses = held.map { EndpointAddress(host: "127.0.0.1", port: $0.localAddress?.port ?? 0) }
        for channel in held { try await channel.close() }
        guard held.count == count else { throw NoPorts(wanted: count, found: held.count) }
        return addresses
    }

    struct NoPorts: Error, CustomStringConvertible {
        let wanted: Int
        let found: Int
        var description: String { "of \(self.wanted) ports of loopback below 32768 only \(self.found) are free" }
    }
}
