/// What a gateway reads of the body of a request to an OpenAI-compatible server: the model, whether the answer is to
/// stream, and the beginning of the prompt.
///
/// A scan, not a parse: bytes go in as they come, nothing is kept of the text but its hash, and what is not JSON or has
/// another shape just yields less. Only members of the outermost object and of its `messages` count. The first
/// `model` counts, wherever it stands.
///
/// The beginning is the text of a chat up to the end of the first message of the user, which all turns of a
/// conversation share; or of a `prompt`, its first ``prefixBlocks`` blocks of ``blockBytes`` bytes.
package struct PromptScan: Sendable {
    /// About how many bytes make a token.
    package static let bytesPerToken = 4
    /// 16 tokens: a block of vLLM's prefix cache.
    package static let blockBytes = 16 * bytesPerToken
    /// How much of a raw prompt tells it from others.
    package static let prefixBlocks = 16
    /// A model's name is not longer.
    static let modelLimit = 256
    /// Nesting deeper than this is not followed any more.
    static let depthLimit = 64

    /// The value of `model`; `nil` while unknown.
    package private(set) var model: String?
    /// Where the model's string stands in the body, with its quotes.
    package private(set) var modelBytes: Range<Int>?
    /// The value of `stream`.
    package private(set) var stream: Bool?
    /// Bytes of prompt text so far.
    package private(set) var textBytes = 0
    /// Bytes read.
    package private(set) var offset = 0
    /// Whether the body turned out not to be a JSON object: no more is learned from it.
    package private(set) var isOver = false

    private enum Expect { case value, key, colon, commaOrEnd }
    private enum Text { case none, key, model, prompt, role, other }

    private var expect = Expect.value
    /// Whether each open bracket is an object's, the outermost first.
    private var nesting: UInt64 = 0
    private var depth = 0
    private var inString = false
    private var isEscaped = false
    private var text = Text.none
    private var buffer: [UInt8] = []
    private var bufferStart = 0
    private var literal: [UInt8] = []
    /// The member that a value belongs to, at the depths that count.
    private var outerKey = Key.other
    private var messageKey = Key.other
    private var partKey = Key.other
    private var isUser = false
    private var hash = TextHash.start
    private var blocks = 0
    private var chatPrefix: UInt64?
    private var rawPrefix: UInt64?
    private var hasText = false

    private enum Key { case model, stream, messages, prompt, role, content, text, other }

    package init() { self.buffer.reserveCapacity(64) }

    /// The hash of what the conversation or prompt begins with; `nil` when there is no text, or less than a block.
    package var prefix: UInt64? {
        if let chatPrefix { return chatPrefix }
        if let rawPrefix { return rawPrefix }
        return self.textBytes >= Self.blockBytes ? TextHash.mixed(self.hash) : nil
    }

    /// Whether more of the body could tell something that matters: the model, or the beginning of the prompt.
    package var wantsMore: Bool {
        !self.isOver && (self.model == nil || (self.chatPrefix == nil && self.rawPrefix == nil))
    }

    /// Reads the next bytes of the body.
    package mutating func read(_ bytes: some Sequence<UInt8>) {
        Array(bytes).withUnsafeBytes { self.read($0) }
    }

    /// Reads the next bytes of the body.
    package mutating func read(_ bytes: UnsafeRawBufferPointer) {
        var index = 0
        while index < bytes.count, !self.isOver {
            if self.inString, !self.isEscaped {
                let plain = self.readPlain(bytes, from: index)
                self.offset += plain
                index += plain
                guard index < bytes.count else { return }
            }
            if self.inString { self.readText(bytes[index]) } else { self.readStructure(bytes[index]) }
            self.offset += 1
            index += 1
        }
    }

    /// Reads a string's characters up to a quote or an escape, where nothing is to be done but to count and to hash them:
    /// nearly all of a prompt.
    ///
    /// - Returns: How many there were.
    private mutating func readPlain(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        switch self.text {
        case .prompt where self.outerKey != .prompt:
            var hash = self.hash
            while index < bytes.count, bytes[index] != UInt8(ascii: "\""), bytes[index] != UInt8(ascii: "\\") {
                hash = TextHash.adding(hash, bytes[index])
                index += 1
            }
            self.hash = hash
            self.textBytes += index - start
            self.hasText = self.hasText || index > start
        case .none, .other:
            while index < bytes.count, bytes[index] != UInt8(ascii: "\""), bytes[index] != UInt8(ascii: "\\") {
                index += 1
            }
        case .prompt, .key, .model, .role: break
        }
        return index - start
    }

    // MARK: Structure

    private var isInObject: Bool { self.depth > 0 && self.nesting >> UInt64(self.depth - 1) & 1 == 1 }

    private mutating func readStructure(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): self.endLiteral()
        case UInt8(ascii: "\""): self.beginString()
        case UInt8(ascii: "{"), UInt8(ascii: "["): self.open(isObject: byte == UInt8(ascii: "{"))
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            self.endLiteral()
            self.close()
        case UInt8(ascii: ":"): self.expect = .value
        case UInt8(ascii: ","):
            self.endLiteral()
            self.expect = self.isInObject ? .key : .value
        default:
            if self.depth == 0 { self.isOver = true }
            if self.depth == 1, self.outerKey == .stream, self.literal.count < 5 { self.literal.append(byte) }
        }
    }

    private mutating func open(isObject: Bool) {
        guard self.depth > 0 || isObject, self.depth < Self.depthLimit else { self.isOver = true; return }
        let bit: UInt64 = 1 << UInt64(self.depth)
        self.nesting = isObject ? self.nesting | bit : self.nesting & ~bit
        self.depth += 1
        self.expect = isObject ? .key : .value
        if self.depth == 3, self.outerKey == .messages {
            self.messageKey = .other
            self.isUser = false
        }
    }

    private mutating func close() {
        // A message of the user is whole: what comes next differs from turn to turn.
        if self.depth == 3, self.outerKey == .messages { self.endMessage() }
        self.depth -= 1
        self.expect = .commaOrEnd
        if self.depth <= 0 { self.isOver = true }
    }

    private mutating func endMessage() {
        if self.isUser, self.hasText, self.chatPrefix == nil { self.chatPrefix = TextHash.mixed(self.hash) }
    }

    private mutating func endLiteral() {
        guard !self.literal.isEmpty else { return }
        if self.stream == nil { self.stream = self.literal.first == UInt8(ascii: "t") }
        self.literal.removeAll(keepingCapacity: true)
    }

    // MARK: Strings

    private mutating func beginString() {
        self.inString = true
        self.buffer.removeAll(keepingCapacity: true)
        self.bufferStart = self.offset
        if self.expect == .key {
            self.text = .key
            return
        }
        self.text =
            switch (self.depth, self.outerKey, self.messageKey) {
            case (1, .model, _): self.model == nil ? .model : .other
            case (1, .prompt, _), (2, .prompt, _): .prompt
            case (3, .messages, .role): .role
            case (3, .messages, .content): .prompt
            // Content in parts: [{"type": "text", "text": …}]
            case (5, .messages, .content) where self.partKey == .text: .prompt
            default: .other
            }
        if self.text == .prompt { self.hash = TextHash.adding(self.hash, 0) }
    }

    private mutating func readText(_ byte: UInt8) {
        if self.isEscaped {
            self.isEscaped = false
            self.keep(byte)
        } else if byte == UInt8(ascii: "\\") {
            self.isEscaped = true
            self.keep(byte)
        } else if byte == UInt8(ascii: "\"") {
            self.endString()
        } else {
            self.keep(byte)
        }
    }

    private mutating func keep(_ byte: UInt8) {
        switch self.text {
        case .prompt:
            // The escapes are hashed as they stand: the same text is written the same way by one client.
            self.hash = TextHash.adding(self.hash, byte)
            self.textBytes += 1
            self.hasText = true
            guard self.textBytes % Self.blockBytes == 0, self.outerKey == .prompt, self.rawPrefix == nil else { return }
            self.blocks += 1
            if self.blocks == Self.prefixBlocks { self.rawPrefix = TextHash.mixed(self.hash) }
        case .key, .model, .role: if self.buffer.count <= Self.modelLimit { self.buffer.append(byte) }
        case .none, .other: break
        }
    }

    private mutating func endString() {
        self.inString = false
        switch self.text {
        case .key:
            self.take(key: Self.key(self.buffer))
            self.expect = .colon
            return
        case .model:
            if self.buffer.count <= Self.modelLimit, !self.buffer.contains(UInt8(ascii: "\\")) {
                self.model = String(decoding: self.buffer, as: UTF8.self)
                self.modelBytes = self.bufferStart..<self.offset + 1
            }
        case .role:
            self.isUser = self.buffer.elementsEqual("user".utf8)
            for byte in self.buffer { self.hash = TextHash.adding(self.hash, byte) }
        case .prompt, .none, .other: break
        }
        self.expect = .commaOrEnd
    }

    private mutating func take(key: Key) {
        switch self.depth {
        case 1: self.outerKey = key
        case 3: self.messageKey = key
        case 5: self.partKey = key
        default: break
        }
    }

    private static func key(_ name: [UInt8]) -> Key {
        switch name.count {
        case 4 where name.elementsEqual("role".utf8): .role
        case 4 where name.elementsEqual("text".utf8): .text
        case 5 where name.elementsEqual("model".utf8): .model
        case 6 where name.elementsEqual("prompt".utf8): .prompt
        case 6 where name.elementsEqual("stream".utf8): .stream
        case 7 where name.elementsEqual("content".utf8): .content
        case 8 where name.elementsEqual("messages".utf8): .messages
        default: .other
        }
    }
}
