import NIOCore
import NIOPosix
import Synchronization

/// Ports that were free a moment ago, for processes that must know each other's before they start.
///
/// They lie below the range from which the system takes ports by itself (from 32,768 on Linux), so that no connection and
/// no listener of port 0 takes one before its process listens, and none is given twice within a process.
package enum FreePorts {
    private static let given = Mutex<Set<Int>>([])

    /// - Throws: ``Exhausted`` when no free port is left to give.
    package static func take(_ count: Int) async throws -> [Int] {
        var ports: [Int] = []
        for port in (10_240..<32_768).shuffled() where ports.count < count {
            guard self.given.withLock({ $0.insert(port).inserted }) else { continue }
            let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            guard let channel = try? await bootstrap.bind(host: "127.0.0.1", port: port).get() else { continue }
            try await channel.close()
            ports.append(port)
        }
        guard ports.count == count else { throw Exhausted() }
        return ports
    }

    /// Every port of the range is in use or given.
    package struct Exhausted: Error {}
}
