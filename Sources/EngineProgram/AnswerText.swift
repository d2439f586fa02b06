import EngineModel
import Foundation
import NIOCore

/// The words of every answer: always the same, one a token.
enum Filler {
    static let words = """
        Air moves from high pressure to low until both are equal, and a map of equal pressure is drawn with isobars; \
        where they crowd together the wind is strong, where they lie apart it is calm.
        """.split(separator: " ").map { " \($0)" }

    /// The text of the `number`th token, counted from 1; the first has no space before it.
    static func word(_ number: Int) -> String {
        number == 1 ? String(Self.words[0].dropFirst()) : Self.words[(number - 1) % Self.words.count]
    }

    static func text(tokens: Int) -> String {
        (1...tokens).map(Self.word).joined()
    }
}

/// Writes one answer as vLLM does, whole or token by token.
///
/// A token's chunk is spliced from constant text around its word: at thousands of tokens a second an encoder for
/// each would cost more than everything else.
struct AnswerText: Sendable {
    private let ask: EngineAsk
    /// `"id":…,"object":` and `"created":…,"model":…`, quoted.
    private let idField: String
    private let originFields: String
    private let beforeWord: String
    private let afterWord: String

    /// Prepares an answer; `quotedModel` is the model's name as a JSON string.
    init(ask: EngineAsk, created: Int, quotedModel: String) {
        let unique = UUID().uuidString.replacing("-", with: "").lowercased()
        self.ask = ask
        self.idField = "\"id\":\"\(ask.kind == .chat ? "chatcmpl" : "cmpl")-\(unique)\""
        self.originFields = "\"created\":\(created),\"model\":\(quotedModel)"
        let object = ask.kind == .chat ? "chat.completion.chunk" : "text_completion"
        let head = "data: {\(self.idField),\"object\":\"\(object)\",\(self.originFields),\"choices\":[{\"index\":0,"
        switch ask.kind {
        case .chat:
            self.beforeWord = head + "\"delta\":{\"content\":\""
            self.afterWord = "\"},\"logprobs\":null,\"finish_reason\":"
        case .completion:
            self.beforeWord = head + "\"text\":\""
            self.afterWord = "\",\"logprobs\":null,\"finish_reason\":"
        }
    }

    /// The events that one token causes: its chunk, before the first one a chat's role, after the last one the usage
    /// (if asked for) and the end mark.
    func events(for token: EngineToken, into buffer: inout ByteBuffer) {
        if token.number == 1, self.ask.kind == .chat {
            buffer.writeString("data: {\(self.idField),\"object\":\"chat.completion.chunk\",\(self.originFields),")
            buffer.writeString("\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},")
            buffer.writeString("\"logprobs\":null,\"finish_reason\":null}]}\n\n")
        }
        buffer.writeString(self.beforeWord)
        buffer.writeString(Filler.word(token.number))
        buffer.writeString(self.afterWord)
        guard let finish = token.finish else {
            buffer.writeString(self.ask.kind == .chat ? "null}]}\n\n" : "null,\"stop_reason\":null}]}\n\n")
            return
        }
        buffer.writeString("\"\(finish.rawValue)\",\"stop_reason\":null}]}\n\n")
        if self.ask.includesUsage {
            let object = self.ask.kind == .chat ? "chat.completion.chunk" : "text_completion"
            buffer.writeString("data: {\(self.idField),\"object\":\"\(object)\",\(self.originFields),")
            buffer.writeString("\"choices\":[],\(self.usage)}\n\n")
        }
        buffer.writeString("data: [DONE]\n\n")
    }

    /// The whole answer as one JSON object.
    func whole(finish: EngineFinish) -> String {
        let text = Filler.text(tokens: self.ask.outputTokens)
        let choice =
            switch self.ask.kind {
            case .chat:
                "\"message\":{\"role\":\"assistant\",\"content\":\"\(text)\",\"refusal\":null,\"tool_calls\":[]}"
            case .completion: "\"text\":\"\(text)\""
            }
        let object = self.ask.kind == .chat ? "chat.completion" : "text_completion"
        return """
            {\(self.idField),"object":"\(object)",\(self.originFields),"choices":[{"index":0,\(choice),\
            "logprobs":null,"finish_reason":"\(finish.rawValue)","stop_reason":null}],\(self.usage)}
            """
    }

    private var usage: String {
        let (prompt, output) = (self.ask.prompt.tokens, self.ask.outputTokens)
        return """
            "usage":{"prompt_tokens":\(prompt),"total_tokens":\(prompt + output),"completion_tokens":\(output),\
            "prompt_tokens_details":null}
            """
    }
}
