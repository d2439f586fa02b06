import FleetModel
import TestKit
import Testing

@testable import GossipCore

@Suite struct AgentPusherTests {
    static let east = RegionName(unchecked: "us-east")
    static let west = RegionName(unchecked: "us-west")
    static let hubs = (0..<5).compactMap { HubID($0) }

    /// An agent that reaches the first so many hubs, with four relays at hand.
    static func agent(reaching count: Int) -> AgentPusher {
        var dice = SeededGenerator(seed: 3)
        var agent = AgentPusher(
            agent: AgentID(1),
            incarnation: 2,
            region: Self.east,
            hubs: Self.hubs,
            now: 0,
            dice: &dice
        )
        agent.adopt((2...5).map { Self.offer($0, reach: HubSet(bits: 0b11111)) }, now: 0)
        for second in 1...6 {
            let now = Seconds(second)
            let frame = Self.publish(&agent, now: now).frame
            for hub in Self.hubs.prefix(count) {
                let answer = FrameAcknowledgement(hub: hub, agent: AgentID(1), stamp: frame.header.stamp, echo: now)
                _ = agent.receive(.acknowledge(answer), from: .hub(hub), now: now + 0.05)
            }
        }
        return agent
    }

    static func offer(_ number: UInt32, reach: HubSet) -> RelayOffer {
        let region = number % 2 == 0 ? Self.east : Self.west
        return RelayOffer(agent: AgentID(number), region: region, reach: reach, address: "a\(number):1")
    }

    static func publish(_ agent: inout AgentPusher, now: Seconds) -> (frame: SealedFrame, out: [Outgoing]) {
        let frame = SealedFrame(header: agent.nextHeader(now: now), bytes: [1])
        return (frame, agent.publish(frame, now: now))
    }

    static func relays(_ out: [Outgoing]) -> [Peer] {
        out.filter { if case .relay = $0.message { true } else { false } }.map(\.to)
    }

    static func pushes(_ out: [Outgoing]) -> [Peer] {
        out.filter { if case .push = $0.message { true } else { false } }.map(\.to)
    }

    @Test func `a frame goes to every hub that answers, and to no relay`() {
        var agent = Self.agent(reaching: 5)
        let out = Self.publish(&agent, now: 7).out
        #expect(Self.pushes(out) == Self.hubs.map { .hub($0) })
        #expect(Self.relays(out).isEmpty)
    }

    @Test func `the header tells the hubs that answer, under the seal`() {
        var agent = Self.agent(reaching: 3)
        #expect(agent.nextHeader(now: 7).reach == HubSet(bits: 0b111))
        #expect(agent.nextHeader(now: 20).reach.isEmpty)
    }

    @Test func `with one hub left, two relays carry the frame beside it, one near and one far`() {
        var agent = Self.agent(reaching: 1)
        let out = Self.publish(&agent, now: 7).out
        #expect(Self.pushes(out) == [.hub(Self.hubs[0])])
        #expect(Self.relays(out).count == 2)
        #expect(Self.relays(out).contains(.agent(AgentID(2))))
    }

    @Test func `an unanswered frame goes to three relays when its time is out, and the next ones at once`() {
        var agent = Self.agent(reaching: 5)
        _ = Self.publish(&agent, now: 7)
        #expect(agent.nextWake < 7.5)
        #expect(Self.relays(agent.tick(now: 7.2)).isEmpty)
        #expect(Self.relays(agent.tick(now: 7.5)).count == 3)
        #expect(Self.relays(Self.publish(&agent, now: 8).out).count == 2)
        #expect(agent.counts.unanswered == 1)
    }

    @Test func `a relay that refuses is passed over, and those that it knows are tried`() {
        var agent = Self.agent(reaching: 0)
        let first = Self.publish(&agent, now: 20)
        let asked = Self.relays(first.out)
        let known = Self.offer(77, reach: HubSet(bits: 0b11111))
        for peer in asked {
            let refusal = RelayRefusal(stamp: first.frame.header.stamp, reason: .noHub, relays: [known])
            _ = agent.receive(.refuse(refusal), from: peer, now: 20.1)
        }
        let next = Self.relays(Self.publish(&agent, now: 21).out)
        #expect(Set(next).isDisjoint(with: asked))
        _ = agent.tick(now: 23)
        #expect(Self.relays(Self.publish(&agent, now: 23.1).out).contains(.agent(AgentID(77))))
    }

    @Test func `a relay forwards an agent's own frame to one hub, passes the answer on, and refuses a second hop`() {
        var relay = Self.agent(reaching: 2)
        let frame = Mesh.frame(9, 1, 1)
        let push = FramePush(carried: CarriedFrame(frame: frame, age: 0.2), sentAt: 55)
        let out = relay.receive(.relay(push), from: .agent(AgentID(9)), now: 7)
        guard case .forward(let forward)? = out.first?.message, out.count == 1 else {
            Issue.record("expected one forward, found \(out)")
            return
        }
        #expect(forward.carried.frame == frame && forward.carried.age >= 0.2)
        let answer = FrameAcknowledgement(hub: Self.hubs[0], agent: AgentID(9), stamp: frame.header.stamp, echo: 7)
        let passed = relay.receive(.acknowledge(answer), from: .hub(Self.hubs[0]), now: 7.1)
        #expect(passed.map(\.to) == [.agent(AgentID(9))])
        #expect(relay.receive(.relay(push), from: .agent(AgentID(8)), now: 7).isEmpty)
        #expect(relay.counts.refusedHops == 1)
    }

    @Test func `a relay keeps to its budget and says so`() {
        var relay = Self.agent(reaching: 2)
        var forwarded = 0
        var refused = 0
        for sequence in 1...200 as ClosedRange<UInt32> {
            let push = FramePush(carried: CarriedFrame(frame: Mesh.frame(9, 1, sequence), age: 0), sentAt: 0)
            for outgoing in relay.receive(.relay(push), from: .agent(AgentID(9)), now: 7) {
                if case .forward = outgoing.message { forwarded += 1 }
                if case .refuse(let refusal) = outgoing.message, refusal.reason == .overBudget { refused += 1 }
            }
        }
        #expect(forwarded == 64 && refused == 136)
    }

    @Test func `changes make frames early, at most three at once and five a second, a tenth of a second apart`() {
        var agent = Self.agent(reaching: 5)
        var times: [Seconds] = []
        for step in 0..<600 {
            let now = 7 + Seconds(step) / 200
            agent.hasChanged(now: now)
            if agent.isFrameDue(now: now) {
                _ = Self.publish(&agent, now: now)
                times.append(now)
            }
        }
        #expect((16...19).contains(times.count), "\(times.count) frames in three seconds")
        #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 >= 0.0999 })
    }

    @Test func `a hub that does not answer is tried with a ping, and its pong brings it back`() {
        var agent = Self.agent(reaching: 4)
        let out = Self.publish(&agent, now: 8).out
        #expect(out.contains { $0.to == .hub(Self.hubs[4]) && $0.message.slot == .ping })
        _ = agent.receive(.pong(sentAt: 8, reach: HubSet()), from: .hub(Self.hubs[4]), now: 8.1)
        #expect(Self.pushes(Self.publish(&agent, now: 9).out).count == 5)
    }

    @Test func `a clock that steps back an hour costs nothing`() {
        var agent = Self.agent(reaching: 5)
        _ = agent.tick(now: -3_600)
        #expect(agent.nextWake < -3_598)
        _ = Self.publish(&agent, now: -3_599)
        #expect(agent.nextWake < -3_597)
    }

    @Test func `a hub is pushed to from when it is met, and no longer counts as reached once its link is gone`() {
        var dice = SeededGenerator(seed: 3)
        var agent = AgentPusher(agent: AgentID(1), incarnation: 2, region: Self.east, hubs: [], now: 0, dice: &dice)
        #expect(Self.pushes(Self.publish(&agent, now: 1).out).isEmpty)
        agent.meet(Self.hubs[3], now: 1.5)
        let (frame, out) = Self.publish(&agent, now: 2)
        #expect(Self.pushes(out) == [.hub(Self.hubs[3])])
        let answer = FrameAcknowledgement(hub: Self.hubs[3], agent: AgentID(1), stamp: frame.header.stamp, echo: 2)
        _ = agent.receive(.acknowledge(answer), from: .hub(Self.hubs[3]), now: 2.1)
        #expect(agent.reach(now: 2.2).contains(Self.hubs[3]))
        agent.part(Self.hubs[3])
        #expect(agent.reach(now: 2.2).isEmpty)
        #expect(Self.pushes(Self.publish(&agent, now: 3).out).isEmpty)
    }

    @Test func `an agent whose name another one uses notices it, and one late answer is not enough`() {
        var agent = Self.agent(reaching: 5)
        func answer(_ incarnation: UInt32, _ sequence: UInt32) -> GossipMessage {
            let stamp = FrameStamp(incarnation: incarnation, sequence: sequence)
            return .acknowledge(FrameAcknowledgement(hub: Self.hubs[0], agent: AgentID(1), stamp: stamp, echo: 6))
        }
        for _ in 0..<2 { _ = agent.receive(answer(3, 1), from: .hub(Self.hubs[0]), now: 7) }
        _ = agent.receive(answer(2, 6), from: .hub(Self.hubs[0]), now: 7)
        #expect(!agent.isSuperseded)
        for _ in 0..<3 { _ = agent.receive(answer(3, 1), from: .hub(Self.hubs[0]), now: 7) }
        #expect(agent.isSuperseded)
    }

    /// An agent that every hub, or all but one, has left, and relays of which some are dead: how long until a frame of
    /// it has gone through a living one, and the longest wait for the next once all could be asked.
    static func wait(
        dead: Set<AgentID>,
        of relays: Int,
        interval: Seconds,
        reaching: Int,
        seed: UInt64
    ) -> (first: Seconds, longest: Seconds) {
        var dice = SeededGenerator(seed: seed)
        var settings = GossipSettings()
        settings.interval = interval
        var agent = AgentPusher(
            agent: AgentID(1),
            incarnation: 2,
            region: Self.east,
            hubs: Self.hubs,
            settings: settings,
            now: 0,
            dice: &dice
        )
        let offers = (2..<2 + UInt32(relays)).map { number in
            Self.offer(number, reach: HubSet(bits: UInt16.random(in: 1...31, using: &dice)))
        }
        agent.adopt(offers, now: 0)
        var first: Seconds?
        var (last, longest) = (Seconds(0), Seconds(0))
        for step in 1...Int(60 * interval * 20) {
            let now = Seconds(step) / 20
            if Double.random(in: 0..<1, using: &dice) < 0.02 { agent.hasChanged(now: now) }
            var out = agent.tick(now: now)
            if agent.isFrameDue(now: now) { out += Self.publish(&agent, now: now).out }
            for outgoing in out {
                switch (outgoing.message, outgoing.to) {
                case (.push(let push), .hub(let hub)) where Int(hub.number) < reaching:
                    let stamp = push.carried.frame.header.stamp
                    let answer = FrameAcknowledgement(hub: hub, agent: AgentID(1), stamp: stamp, echo: push.sentAt)
                    _ = agent.receive(.acknowledge(answer), from: .hub(hub), now: now)
                case (.relay(let push), .agent(let relay)) where !dead.contains(relay):
                    if now > 13 * interval { longest = max(longest, now - max(last, 13 * interval)) }
                    (first, last) = (first ?? now, now)
                    let stamp = push.carried.frame.header.stamp
                    let hub = Self.hubs[4]
                    let answer = FrameAcknowledgement(hub: hub, agent: AgentID(1), stamp: stamp, echo: push.sentAt)
                    _ = agent.receive(.relayed(answer), from: .agent(relay), now: now)
                case (.ping(let sentAt), .agent(let relay)) where !dead.contains(relay):
                    _ = agent.receive(.pong(sentAt: sentAt, reach: HubSet(bits: 31)), from: .agent(relay), now: now)
                default: break
                }
            }
        }
        return (first ?? .infinity, first == nil ? .infinity : max(longest, 60 * interval - last))
    }

    @Test(
        "however many relays are dead, a living one is asked within twelve frames, and then with every frame",
        arguments: [1, 4] as [Seconds]
    )
    func deadRelays(interval: Seconds) {
        for seed in 1...200 as ClosedRange<UInt64> {
            var dice = SeededGenerator(seed: seed)
            let relays = Int.random(in: 4...12, using: &dice)
            var dead = Set((2..<2 + UInt32(relays)).map { AgentID($0) })
            for _ in 0..<Int.random(in: 1...2, using: &dice) {
                dead.remove(AgentID(UInt32.random(in: 2..<2 + UInt32(relays), using: &dice)))
            }
            let reaching = Int.random(in: 0...1, using: &dice)
            let wait = Self.wait(dead: dead, of: relays, interval: interval, reaching: reaching, seed: seed)
            #expect(wait.first <= 12 * interval + 1, "seed \(seed): \(dead.count) of \(relays) dead, \(wait)")
            #expect(wait.longest <= 2 * interval, "seed \(seed): \(dead.count) of \(relays) dead, \(wait)")
        }
    }

    @Test func `a relay that was dead is found again by a ping, and one that reaches no hub is not taken for it`() {
        var agent = Self.agent(reaching: 5)
        var pinged: Set<Peer> = []
        for second in 7...80 {
            let now = Seconds(second)
            let frame = Self.publish(&agent, now: now).frame
            for hub in Self.hubs {
                let answer = FrameAcknowledgement(hub: hub, agent: AgentID(1), stamp: frame.header.stamp, echo: now)
                _ = agent.receive(.acknowledge(answer), from: .hub(hub), now: now + 0.05)
            }
            for outgoing in agent.tick(now: now + 0.5) where outgoing.message.slot == .ping {
                pinged.insert(outgoing.to)
            }
        }
        #expect(pinged.count == 4)
        _ = agent.receive(.pong(sentAt: 80, reach: HubSet()), from: .agent(AgentID(2)), now: 80.1)
        _ = agent.receive(.pong(sentAt: 80, reach: HubSet(bits: 1)), from: .agent(AgentID(5)), now: 80.1)
        #expect(agent.chooseRelays(1, now: 81).map { agent.candidates[$0].offer.agent } == [AgentID(5)])
    }

    @Test func `a relay that works stays known when a hub names others`() {
        var agent = Self.agent(reaching: 0)
        let frame = Self.publish(&agent, now: 20).frame
        let answer = FrameAcknowledgement(hub: Self.hubs[0], agent: AgentID(1), stamp: frame.header.stamp, echo: 20)
        _ = agent.receive(.relayed(answer), from: .agent(AgentID(4)), now: 20.2)
        agent.adopt((20...30).map { Self.offer($0, reach: HubSet(bits: 0b11111)) }, now: 21)
        #expect(agent.relays == (20...30).map { AgentID($0) } + [AgentID(4)])
        agent.adopt([Self.offer(40, reach: HubSet(bits: 0b11111))], now: 22)
        #expect(agent.relays.count == 12 && agent.relays.contains(AgentID(4)), "a hub that knows one relay takes none")
    }

    @Test func `a pause while a relay's round trip was measured does not make every later frame old`() {
        var agent = Self.agent(reaching: 0)
        _ = agent.receive(.pong(sentAt: 12, reach: HubSet(bits: 1)), from: .agent(AgentID(2)), now: 20)
        func age(of out: [Outgoing]) -> Seconds? {
            for case .relay(let push) in out.filter({ $0.to == .agent(AgentID(2)) }).map(\.message) {
                return push.carried.age
            }
            return nil
        }
        let (frame, out) = Self.publish(&agent, now: 21)
        #expect(age(of: out) == 4)
        let answer = FrameAcknowledgement(hub: Self.hubs[0], agent: AgentID(1), stamp: frame.header.stamp, echo: 21)
        _ = agent.receive(.relayed(answer), from: .agent(AgentID(2)), now: 21.2)
        #expect(age(of: Self.publish(&agent, now: 22).out).map { $0 < 0.11 } == true)
    }
}
