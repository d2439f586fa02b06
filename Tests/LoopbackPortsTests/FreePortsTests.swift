import LoopbackPorts
import NIOCore
import NIOPosix
import Testing

@Suite("Free ports")
struct FreePortsTests {
    private func listen(_ port: Int, isShared: Bool) async throws -> any Channel {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: isShared ? 1 : 0)
            .bind(host: "127.0.0.1", port: port).get()
    }

    @Test("differ, and lie where the system takes none by itself")
    func differ() throws {
        let ports = try FreePorts.take(40) + FreePorts.take(40)
        #expect(Set(ports).count == 80)
        #expect(ports.allSatisfy { (10_240..<32_768).contains($0) })
    }

    @Test(
        "are refused to whoever looks for one, and open to servers, again and again",
        .enabled(if: FreePorts.isShared, "this system keeps servers out as well")
    )
    func kept() async throws {
        let port = try #require(try FreePorts.take(1).first)
        for _ in 0..<2 {
            await #expect(throws: (any Error).self) { try await self.listen(port, isShared: false).close() }
            let server = try await self.listen(port, isShared: true)
            // A server that has been asked, and not only one that nobody found.
            let client = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: port).get()
            try await client.close()
            await #expect(throws: (any Error).self) { try await self.listen(port, isShared: true).close() }
            try await server.close()
        }
    }
}
