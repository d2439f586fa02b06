import FleetModel
import Foundation
import SwiftProtobuf
import Synchronization
import TestKit
import Testing
import WireProtocol

@Suite("Messages")
struct MessageTests {
    private static func digest() throws -> PoolDigest {
        PoolDigest(
            pool: try PoolName("serving/llama"),
            state: .draining,
            endpointsReady: 3,
            endpointsKnown: 4,
            running: 12,
            waiting: 5,
            kvMean: 0.25,
            kvMax: 0.5,
            capacity: 17.5,
            freeSeats: 9,
            unloadedTTFT: 0.125,
            queueScale: nil,
            requestRate: 8,
            promptTokenRate: 1_024,
            generationTokenRate: 2_048
        )
    }

    private static func frame() throws -> DigestFrame {
        DigestFrame(
            id: FrameID(cluster: try ClusterName("us-east-a"), incarnation: 3, sequence: 99),
            region: try RegionName("us-east"),
            agent: try AgentName("us-east-a-0"),
            interval: 1,
            digests: [
                try self.digest(),
                PoolDigest(pool: try PoolName("qwen"), state: .down, endpointsReady: 0, endpointsKnown: 1),
            ]
        )
    }

    @Test("a frame arrives as it was sent, with what is unknown still unknown")
    func frames() throws {
        let frame = try Self.frame()
        let bytes: [UInt8] = try Isobar_V1_Frame(frame).serializedBytes()
        #expect(try Isobar_V1_Frame(serializedBytes: bytes).model() == frame)
    }

    @Test("a field that does not hold what it should is named")
    func refusals() throws {
        var message = Isobar_V1_Frame(try Self.frame())
        message.id.cluster = "US EAST"
        #expect(#expect(throws: WireError.self) { try message.model() }?.field == "id.cluster")

        message = Isobar_V1_Frame(try Self.frame())
        message.digests[1].packed[2] = 9
        #expect(#expect(throws: WireError.self) { try message.model() }?.field == "digests.packed.state")
    }

    @Test("samples travel with their age, so that no two clocks are compared")
    func samples() throws {
        let batch = SampleBatch(
            cluster: try ClusterName("a"),
            region: try RegionName("us-east"),
            pool: try PoolName("llama"),
            samples: [
                EndpointSample(
                    endpoint: try EndpointAddress("127.0.0.1:8000"),
                    load: EndpointLoad(
                        running: 3,
                        waiting: 1,
                        kvUse: 0.5,
                        adapters: LoRAAdapters(running: ["chat", "sql"], waiting: [], most: 4)
                    ),
                    takenAt: 9.75
                ),
                EndpointSample(endpoint: try EndpointAddress("127.0.0.1:8001"), load: nil, takenAt: 8),
            ]
        )
        let message = Isobar_V1_SampleBatch(batch, now: 10)
        let received = try message.model(now: 1_000)
        #expect(received.samples.map(\.takenAt) == [999.75, 998])
        #expect(received.samples.map(\.load) == batch.samples.map(\.load))
    }

    @Test("a plan and a demand report arrive as they were sent")
    func plans() throws {
        let plan = try Fixtures.plan()
        #expect(try Isobar_V1_Plan(plan).model() == plan)
        let report = DemandReport(
            gateway: try GatewayName("gw"),
            region: try RegionName("us-east"),
            demand: [BandDemand(pool: try PoolName("llama"), band: .premium, rate: 2.5)],
            roundTrips: [try RegionName("asia-east"): 0.162],
            unreachable: [try RegionName("europe-west")]
        )
        #expect(try Isobar_V1_DemandReport(report).model() == report)
    }

    @Test("a row with more or fewer weights than clusters is refused")
    func ragged() throws {
        var message = Isobar_V1_Plan(try Fixtures.plan())
        message.pools[0].rows[0].weights.append(0.5)
        #expect(#expect(throws: WireError.self) { try message.model() }?.field == "rows.weights")
    }
}

@Suite("Newest wins")
struct NewestWinsTests {
    @Test("a slow reader sees the newest value only, and what it missed is counted")
    func skips() async {
        let cell = NewestWins<Int>()
        var reader = cell.values().makeAsyncIterator()
        for value in 1...5 { cell.send(value) }
        #expect(await reader.next() == 5)
        #expect(cell.skipped == 4)
    }

    @Test("a late reader begins with the current value, and a reader that is gone is forgotten")
    func late() async throws {
        let cell = NewestWins(7)
        do {
            var reader = cell.values().makeAsyncIterator()
            #expect(await reader.next() == 7)
            #expect(cell.readerCount == 1)
        }
        try await eventually("the reader is forgotten") { cell.readerCount == 0 }
    }

    @Test("readers may leave at any moment while values are sent")
    func leaving() async throws {
        let cell = NewestWins(0)
        let hasEnded = Flag()
        // Threads of their own: a deadlock would be theirs, and this test would live to tell it.
        Thread.detachNewThread {
            for _ in 0..<40 {
                let (waiting, go, gone) = (
                    DispatchSemaphore(value: 0), DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)
                )
                let readers = (0..<20).map { _ in
                    Task { for await _ in cell.values() { waiting.signal() } }
                }
                // Each begins with something to hear, and then waits.
                for _ in readers { waiting.wait() }
                for _ in 0..<50 { sched_yield() }
                Thread.detachNewThread {
                    go.wait()
                    cell.send(1)
                    gone.signal()
                }
                go.signal()
                for reader in readers { reader.cancel() }
                gone.wait()
            }
            hasEnded.set()
        }
        try await eventually("all have left") { hasEnded.isSet }
        try await eventually("none is kept") { cell.readerCount == 0 }
    }
}

private final class Flag: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { self.flag.load(ordering: .relaxed) }
    func set() { self.flag.store(true, ordering: .relaxed) }
}
