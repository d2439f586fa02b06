import Testing
import WireProtocol

@testable import OperatorCLI

@Suite("A watch that goes on at another replica")
struct WatchMemoryTests {
    private static func event(_ kind: String, _ name: String = "", _ version: Int64 = 0) -> Isobar_V1_ResourceEvent {
        var event = Isobar_V1_ResourceEvent()
        event.kind = kind
        guard !name.isEmpty else { return event }
        event.resource.resource.key.kind = "Drain"
        event.resource.resource.key.name = name
        event.resource.resource.resourceVersion = version
        return event
    }

    /// What is shown of what replicas tell, as `kind name`.
    private static func shown(_ memory: inout WatchMemory, _ events: [Isobar_V1_ResourceEvent]) -> [String] {
        events.flatMap { memory.news(in: $0) }.map { "\($0.kind) \($0.resource.resource.key.name)" }
    }

    @Test("shows what there is, then what changes")
    func first() {
        var memory = WatchMemory()
        memory.begin()
        let told = Self.shown(
            &memory,
            [
                Self.event("current", "a", 1), Self.event("current", "b", 2), Self.event("listed"),
                Self.event("changed", "a", 3), Self.event("created", "c", 4), Self.event("deleted", "b", 2),
            ]
        )
        #expect(told == ["current a", "current b", "changed a", "created c", "deleted b"])
    }

    @Test("shows what changed between two replicas, each thing once, and repeats nothing")
    func another() {
        var memory = WatchMemory()
        memory.begin()
        _ = Self.shown(
            &memory,
            ["a", "b", "c"].enumerated().map { Self.event("current", $0.element, Int64($0.offset)) }
                + [Self.event("listed"), Self.event("changed", "a", 10)]
        )
        memory.begin()
        let told = Self.shown(
            &memory,
            [
                Self.event("current", "a", 10), Self.event("current", "c", 12), Self.event("current", "d", 11),
                Self.event("listed"), Self.event("changed", "d", 13),
            ]
        )
        #expect(told == ["changed c", "created d", "deleted b", "changed d"])
    }

    @Test("a replica that is lost before it has listed everything takes nothing away")
    func interrupted() {
        var memory = WatchMemory()
        memory.begin()
        _ = Self.shown(&memory, [Self.event("current", "a", 1), Self.event("current", "b", 2), Self.event("listed")])
        memory.begin()
        #expect(Self.shown(&memory, [Self.event("current", "a", 1)]) == [])
        memory.begin()
        #expect(
            Self.shown(&memory, [Self.event("current", "a", 1), Self.event("current", "b", 2), Self.event("listed")])
                == []
        )
    }

    @Test("one lost while it listed for the first time leaves the rest to the next")
    func interruptedAtFirst() {
        var memory = WatchMemory()
        memory.begin()
        #expect(Self.shown(&memory, [Self.event("current", "a", 1)]) == ["current a"])
        memory.begin()
        let told = [Self.event("current", "a", 1), Self.event("current", "b", 2), Self.event("listed")]
        #expect(Self.shown(&memory, told) == ["current b"])
    }
}
