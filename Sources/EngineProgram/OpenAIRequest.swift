import EngineModel
import Foundation

/// A request body of `/v1/completions` or `/v1/chat/completions`; fields that do not change timing are ignored.
struct OpenAIBody: Decodable {
    struct Message: Decodable {
        let role: String
        let content: Content?
    }

    struct StreamOptions: Decodable {
        let include_usage: Bool?
    }

    /// Text, or a list of parts of which some hold text.
    enum Content: Decodable {
        case text(String)

        private struct Part: Decodable {
            let text: String?
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else {
                self = .text(try container.decode([Part].self).compactMap(\.text).joined())
            }
        }
    }

    /// Text or tokens, alone or as a list of one.
    enum PromptInput: Decodable {
        case text(String)
        case tokens([Int])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let tokens = try? container.decode([Int].self) {
                self = .tokens(tokens)
            } else if let texts = try? container.decode([String].self), texts.count == 1 {
                self = .text(texts[0])
            } else if let lists = try? container.decode([[Int]].self), lists.count == 1 {
                self = .tokens(lists[0])
            } else {
                throw DecodingError.dataCorruptedError(
                    in: container,
                    debugDescription: "give one prompt: a string or a list of token ids"
                )
            }
        }
    }

    let model: String?
    let prompt: PromptInput?
    let messages: [Message]?
    let max_tokens: Int?
    let max_completion_tokens: Int?
    let n: Int?
    let stream: Bool?
    let stream_options: StreamOptions?
}

/// Which of the two generating endpoints was called.
enum EndpointKind: Sendable {
    case completion, chat
}

/// A checked request: what the engine shall do and how the answer is wanted.
struct EngineAsk: Sendable {
    /// Tokens of an answer whose length the client leaves open.
    static let defaultOutputTokens = 128

    let kind: EndpointKind
    let prompt: Prompt
    let outputTokens: Int
    let finish: EngineFinish
    let streams: Bool
    let includesUsage: Bool

    /// Reads and checks a request body.
    ///
    /// - Throws: ``APIError``, in the words that the client gets.
    init(_ body: Data, kind: EndpointKind, options: EngineOptions) throws(APIError) {
        let request = try Self.decode(body)
        if let model = request.model, model != options.model { throw .unknownModel(model) }
        guard request.n ?? 1 == 1 else {
            throw .badRequest("n must be 1: this server gives one answer a request", param: "n")
        }
        let unitTokens = options.profile.prefixUnitTokens
        switch (kind, request.prompt, request.messages) {
        case (.completion, .text(let text)?, _): self.prompt = Prompt(text: text, unitTokens: unitTokens)
        case (.completion, .tokens(let tokens)?, _): self.prompt = Prompt(tokens: tokens, unitTokens: unitTokens)
        case (.completion, nil, _): throw .badRequest("prompt is missing", param: "prompt")
        case (.chat, _, let messages?) where !messages.isEmpty:
            self.prompt = Prompt(text: Self.transcript(messages), unitTokens: unitTokens)
        case (.chat, _, _): throw .badRequest("messages is missing or empty", param: "messages")
        }
        let asked = request.max_completion_tokens ?? request.max_tokens
        let room = options.maxModelLength - self.prompt.tokens
        if let asked, asked < 1 {
            throw .badRequest("max_tokens must be at least 1, got \(asked).", param: "max_tokens")
        }
        guard room >= asked ?? 1 else {
            throw .tooLong(limit: options.maxModelLength, prompt: self.prompt.tokens, output: asked ?? 1)
        }
        self.kind = kind
        self.outputTokens = asked ?? min(Self.defaultOutputTokens, room)
        self.finish = asked == nil && room >= Self.defaultOutputTokens ? .stop : .length
        self.streams = request.stream ?? false
        self.includesUsage = request.stream_options?.include_usage ?? false
    }

    private static func decode(_ body: Data) throws(APIError) -> OpenAIBody {
        do {
            return try JSONDecoder().decode(OpenAIBody.self, from: body)
        } catch let DecodingError.keyNotFound(key, context) {
            let path = context.codingPath + [key]
            throw .badRequest("\(path.map(\.stringValue).joined(separator: ".")) is missing", param: nil)
        } catch let DecodingError.typeMismatch(_, context), let DecodingError.valueNotFound(_, context) {
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw .badRequest("\(path.isEmpty ? "the body" : path): \(context.debugDescription)", param: nil)
        } catch let DecodingError.dataCorrupted(context) {
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw .badRequest("\(path.isEmpty ? "JSON decode error" : path): \(context.debugDescription)", param: nil)
        } catch {
            throw .badRequest("JSON decode error", param: nil)
        }
    }

    /// What a chat template makes of the messages, about as long as the real ones do.
    private static func transcript(_ messages: [OpenAIBody.Message]) -> String {
        var text = ""
        for message in messages {
            text += "<|\(message.role)|>\n"
            if case .text(let content)? = message.content { text += content }
            text += "\n"
        }
        return text + "<|assistant|>\n"
    }
}
