import NIOCore
import NIOPosix

/// Ports that were free a moment ago, for processes that must know each other's before they start.
package enum FreePorts {
    /// - Throws: When the system has none.
    package static func take(_ count: Int) async throws -> [Int] {
        var held: [any Channel] = []
        for _ in 0..<count {
            held.append(
                try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .bind(host: "127.0.0.1", port: 0).get()
            )
        }
        let ports = held.compactMap { $0.localAddress?.port }
        for channel in held { try await channel.close() }
        return ports
    }
}
