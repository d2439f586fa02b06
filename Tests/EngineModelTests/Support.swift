import EngineModel
import FleetModel
import Testing

extension EngineMachine {
    /// Runs until nothing is left to do.
    mutating func drain() -> [EngineEvent] {
        var events: [EngineEvent] = []
        while let at = self.nextEventAt { events += self.advance(to: at) }
        return events
    }
}

extension EngineProfile {
    /// A profile with round numbers: 1 ms a token, nothing else, and memory for `blocks` blocks of 16 tokens.
    static func plain(blocks: Int = 1_000) -> EngineProfile {
        var profile = EngineProfile(
            name: "plain",
            cost: StepCost(
                weights: 0,
                overhead: 0,
                base: 0,
                token: 0.001,
                attentionPair: 0,
                sequence: 0,
                contextToken: 0
            ),
            kvTokens: blocks * 16
        )
        profile.apiOverhead = 0
        return profile
    }
}

/// What one request lived through.
struct Life {
    var tokens: [Int] = []
    var times: [Seconds] = []
    var preemptions = 0
    var finish: EngineFinish?
}

/// Sorts events by request, and refuses an event after the end.
func lives(_ events: [EngineEvent]) -> [EngineRequestID: Life] {
    var lives: [EngineRequestID: Life] = [:]
    for event in events {
        #expect(lives[event.request]?.finish == nil)
        switch event.kind {
        case .token(let number, let finish):
            lives[event.request, default: Life()].finish = finish
            lives[event.request, default: Life()].tokens.append(number)
            lives[event.request, default: Life()].times.append(event.at)
        case .preempted: lives[event.request, default: Life()].preemptions += 1
        }
    }
    return lives
}
