import EngineModel
import FleetModel
import Foundation
import Testing

/// The lengths of real conversations: testenv/traces/README.md says where they come from.
struct Conversation {
    let prompt: Int
    let output: Int

    static func all() throws -> [Conversation] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(
            contentsOf: root.appending(path: "testenv/traces/azure2023_conv_2000.csv"),
            encoding: .utf8
        )
        return text.split(whereSeparator: \.isNewline).dropFirst().compactMap { line in
            let fields = line.split(separator: ",")
            guard fields.count == 3, let prompt = Int(fields[1]), let output = Int(fields[2]) else { return nil }
            return Conversation(prompt: prompt, output: output)
        }
    }
}

@Suite struct `Conversation lengths` {
    @Test func `saturate an 8B model on an H100 at about 16 requests a second`() throws {
        let conversations = try Conversation.all()
        #expect(conversations.count == 2_000)
        var machine = EngineMachine(profile: try EngineProfile(named: "8b-h100"), reportsEveryToken: false)
        for (id, conversation) in conversations.enumerated() {
            let request = EngineRequest(
                id: UInt64(id),
                promptTokens: conversation.prompt,
                outputTokens: conversation.output
            )
            try machine.submit(request, now: 0)
        }
        // The whole trace, whose answers are shorter (211 tokens instead of 265), saturates at 18.1 in this model;
        // the figure that it was fitted to is 17.8. Here only the steady part counts: the middle three fifths.
        let finishes = machine.drain().filter { $0.finish == .length }.map(\.at)
        #expect(finishes.count == 2_000)
        let rate = 1_200 / (finishes[1_600] - finishes[400])
        #expect((15.7...16.7).contains(rate), "\(rate) requests a second")
    }
}
