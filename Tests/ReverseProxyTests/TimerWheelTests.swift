import NIOCore
import Testing

@testable import ReverseProxy

@Suite struct TimerWheelTests {
    final class Waiter: Impatient {
        var deadline: NIODeadline?
        var heldAt: TimerWheel.Tick?
        init(_ seconds: Double) { self.deadline = Self.at(seconds) }
        func giveUp() {}

        static func at(_ seconds: Double) -> NIODeadline { .uptimeNanoseconds(UInt64(seconds * 1e9)) }
    }

    func expired(_ wheel: inout TimerWheel, at seconds: Double) -> [Waiter] {
        wheel.expired(at: Waiter.at(seconds)).compactMap { $0 as? Waiter }
    }

    @Test func `a deadline is noticed soon after it has passed and not before`() {
        var wheel = TimerWheel()
        let waiter = Waiter(5)
        wheel.hold(waiter)
        #expect(self.expired(&wheel, at: 4.99).isEmpty)
        #expect(self.expired(&wheel, at: 5.2).map(ObjectIdentifier.init) == [ObjectIdentifier(waiter)])
        #expect(wheel.isEmpty)
    }

    @Test func `a deadline that moved later is held again, one that is gone is forgotten`() {
        var wheel = TimerWheel()
        let moved = Waiter(5)
        let gone = Waiter(5)
        wheel.hold(moved)
        wheel.hold(gone)
        moved.deadline = Waiter.at(9)
        gone.deadline = nil
        #expect(self.expired(&wheel, at: 8).isEmpty)
        #expect(gone.heldAt == nil)
        #expect(self.expired(&wheel, at: 9.2).count == 1)
        #expect(wheel.isEmpty)
    }

    @Test func `a deadline that moved earlier is noticed once`() {
        var wheel = TimerWheel()
        let waiter = Waiter(300)
        wheel.hold(waiter)
        waiter.deadline = Waiter.at(5)
        wheel.hold(waiter)
        #expect(self.expired(&wheel, at: 6).count == 1)
        waiter.deadline = nil
        #expect(self.expired(&wheel, at: 400).isEmpty)
        #expect(wheel.isEmpty)
    }
}
