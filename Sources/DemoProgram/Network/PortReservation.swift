import FleetModel
import NIOCore
import NIOPosix

/// Free ports on loopback, chosen before the processes that will listen on them are started, since they must know
/// each other's addresses beforehand.
///
/// The kernel chooses them, all are held at once so that they differ, and they are let go together. Between that and
/// the child's own bind another program may take one: the child then says that the address is in use, and the demo
/// starts over with other ports.
enum PortReservation {
    /// - Throws: When loopback has no free port left.
    static func reserve(_ count: Int, on group: any EventLoopGroup) async throws -> [EndpointAddress] {
        var held: [any Channel] = []
        do {
            for _ in 0..<count {
                held.append(try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get())
            }
        } catch {
            for channel in held { try? await channel.close() }
            throw error
        }
        let addresses = held.map { EndpointAddress(host: "127.0.0.1", port: $0.localAddress?.port ?? 0) }
        for channel in held { try await channel.close() }
        return addresses
    }
}
