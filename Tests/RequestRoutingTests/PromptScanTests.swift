import Testing

@testable import RequestRouting

@Suite("Reading the beginning of a request")
struct PromptScanTests {
    private func scan(_ text: String, in pieces: Int = .max) -> PromptScan {
        var scan = PromptScan()
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            scan.read(rest.prefix(pieces))
            rest = rest.dropFirst(min(pieces, rest.count))
        }
        return scan
    }

    private func chat(_ messages: (role: String, content: String)..., model: String = "llama") -> String {
        let list = messages.map { #"{"role": "\#($0.role)", "content": "\#($0.content)"}"# }.joined(separator: ", ")
        return #"{"model": "\#(model)", "messages": [\#(list)], "stream": true, "max_tokens": 5}"#
    }

    @Test("the model, where it stands, and the stream flag are found wherever they are in the object")
    func members() throws {
        let text = #"{"messages":[{"model":"no"}], "stream" : true ,"model":"llama-3","user":"x"}"#
        let scan = self.scan(text)
        #expect(scan.model == "llama-3" && scan.stream == true)
        let bytes = Array(text.utf8)[try #require(scan.modelBytes)]
        #expect(String(decoding: bytes, as: UTF8.self) == #""llama-3""#)
        #expect(self.scan(#"{"stream":false}"#).stream == false)
        #expect(self.scan(#"{"prompt":"x"}"#).stream == nil)
    }

    @Test("however the bytes are cut, the same is read")
    func cuts() {
        let text = self.chat(("system", #"Be brief, \"please\" \u00e9."#), ("user", "Hello there"))
        let whole = self.scan(text)
        for pieces in 1...7 {
            let cut = self.scan(text, in: pieces)
            #expect(cut.prefix == whole.prefix && cut.model == "llama" && cut.modelBytes == whole.modelBytes)
            #expect(cut.textBytes == whole.textBytes)
        }
    }

    @Test("all turns of a conversation begin alike, and two conversations do not")
    func conversations() throws {
        let first = self.scan(self.chat(("system", "You are a pirate."), ("user", "What is a sloop?")))
        let second = self.scan(
            self.chat(
                ("system", "You are a pirate."),
                ("user", "What is a sloop?"),
                ("assistant", "A ship."),
                ("user", "How large?")
            )
        )
        let other = self.scan(self.chat(("system", "You are a pirate."), ("user", "What is a brig?")))
        #expect(first.prefix != nil && first.prefix == second.prefix && first.prefix != other.prefix)
    }

    @Test("content in parts is text too")
    func parts() {
        func body(_ text: String) -> String {
            #"{"messages":[{"role":"user","content":[{"type":"text","text":"\#(text)"},{"type":"image_url","image_url":{"url":"data:"}}]}]}"#
        }
        #expect(self.scan(body("one")).prefix != nil)
        #expect(self.scan(body("one")).prefix != self.scan(body("two")).prefix)
        #expect(self.scan(body("one")).textBytes == 3)
    }

    @Test("a raw prompt is told by its first blocks, and one without a block by nothing")
    func raw() {
        let long = String(repeating: "All work and no play. ", count: 100)
        let one = self.scan(#"{"model":"m","prompt":"\#(long)and the end"}"#)
        let two = self.scan(#"{"model":"m","prompt":"\#(long)and another end"}"#)
        #expect(one.prefix != nil && one.prefix == two.prefix && !one.wantsMore)
        #expect(self.scan(#"{"model":"m","prompt":"short"}"#).prefix == nil)
        #expect(self.scan(#"{"prompt":["\#(long)"]}"#).prefix != nil)
    }

    @Test(
        "what is no such object yields nothing and does no harm",
        arguments: [
            "", "null", "[]", "]]]}", "{", #"{"model"#, #"{"model": 5}"#, #"{"model": "a\"b"}"#, "\u{0}\u{1}",
            "not json at all", #"{"model":{"model":"x"}}"#, String(repeating: "[", count: 500),
            #"{"messages":"# + String(repeating: "[{", count: 100), #"}{"model":"x"}"#,
        ]
    )
    func garbage(text: String) {
        #expect(self.scan(text).model == nil)
        #expect(self.scan(text).prefix == nil)
    }

    @Test("a body reads alike in one piece and byte by byte", arguments: 1...9)
    func pieces(size: Int) {
        let text = self.chat(("system", #"be "brief" \\ kind"#), ("user", "a cat é 😺"), ("assistant", "hm"))
        for text in [text, #"{"prompt":"\#(String(repeating: "word ", count: 300))","stream":false,"model":"m"}"#] {
            let (whole, cut) = (self.scan(text), self.scan(text, in: size))
            #expect(whole.prefix != nil && whole.prefix == cut.prefix)
            #expect(whole.model == cut.model && whole.modelBytes == cut.modelBytes && whole.stream == cut.stream)
            #expect(whole.textBytes == cut.textBytes && whole.offset == cut.offset)
        }
    }

    @Test("any bytes at all are survived, in any order")
    func fuzz() {
        var dice = QuickDice(seed: 3)
        let alphabet = Array(#"{}[]":,\ tfeu0model messages role user content prompt stream"#.utf8)
        for _ in 0..<2_000 {
            let bytes = (0..<60).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &dice)] }
            var scan = PromptScan()
            scan.read(Array(#"{"messages":[{"role":"user","content":"#.utf8))
            scan.read(bytes)
            if let range = scan.modelBytes { #expect(range.upperBound <= scan.offset) }
        }
    }
}

@Suite("Dice")
struct DiceTests {
    @Test("indices and numbers are those that the standard library draws")
    func draws() {
        for seed in 0..<200 as Range<UInt64> {
            var (ours, theirs) = (QuickDice(seed: seed), QuickDice(seed: seed))
            for step in 1...50 {
                let count = step * step * step * 1_000_003
                #expect(ours.index(below: count) == Int.random(in: 0..<count, using: &theirs))
                let limit = Double(step) * 0.37
                #expect(ours.number(below: limit) == Double.random(in: 0..<limit, using: &theirs))
            }
        }
    }
}
