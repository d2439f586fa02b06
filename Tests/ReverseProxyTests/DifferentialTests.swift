import NIOCore
import NIOEmbedded
import NIOHTTP1
import TestKit
import Testing

@testable import ReverseProxy

/// The reader beside llhttp, on messages that are damaged at random: what we take, llhttp takes, and reads alike.
///
/// We refuse more; that is what being strict means. What we would read otherwise than a common reader does is how
/// requests are smuggled.
@Suite struct DifferentialTests {
    /// What llhttp, as NIOHTTP1 configures it, makes of requests.
    private func llhttp(_ bytes: [UInt8]) -> (messages: [Read], failed: Bool) {
        let channel = EmbeddedChannel(handler: ByteToMessageHandler(HTTPRequestDecoder()))
        var failed = false
        do { try channel.writeInbound(ByteBuffer(bytes: bytes)) } catch { failed = true }
        var messages: [Read] = []
        while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
            switch part {
            case .head(let head):
                let line = "\(head.method.rawValue) \(head.uri) \(head.version.minor == 0)"
                messages.append(Read(firstLine: line, headers: head.headers.map { "\($0.name)=\($0.value)" }))
            case .body(let bytes): messages[messages.count - 1].body += String(buffer: bytes)
            case .end: messages[messages.count - 1].isWhole = true
            }
        }
        _ = try? channel.finish(acceptAlreadyClosed: true)
        return (messages, failed)
    }

    private static let seeds = [
        MessageReaderTests.good.replacing(";ext=\"q\"", with: ""),
        "POST /v1/completions HTTP/1.1\r\nHost: a.example:8080\r\nAuthorization: Bearer t\r\nContent-Length: 17\r\n\r\n"
            + "{\"prompt\":\"a cat\"}" + "GET /models HTTP/1.1\r\nHost: b\r\nAccept: */*\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    ]

    /// Pieces that matter to framing: put in at random, they make the messages that smugglers make.
    private static let spells = [
        "\r\n", "\n", "\r", "\0", " ", "\t", ":", ",", "0", "1", "\r\n\r\n", "0\r\n\r\n", "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n", "chunked", "GET / HTTP/1.1\r\n", "\r\n ", "HTTP/1.0", "-", "\u{B}", "\u{7F}",
        "x: y\r\n",
    ]

    @Test(arguments: 0..<8 as Range<UInt64>)
    func `what is let through, llhttp reads alike`(seed: UInt64) {
        var dice = SeededGenerator(seed: 1_000 + seed)
        var (taken, refused) = (0, 0)
        for _ in 0..<500 {
            var bytes = Array(Self.seeds.randomElement(using: &dice)?.utf8 ?? "".utf8)
            for _ in 0..<Int.random(in: 0...3, using: &dice) {
                let place = Int.random(in: 0..<bytes.count, using: &dice)
                switch Int.random(in: 0..<5, using: &dice) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &dice)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 9)], at: place)
                default:
                    bytes.insert(contentsOf: Self.spells.randomElement(using: &dice)?.utf8 ?? "".utf8, at: place)
                }
            }
            // Extensions of chunks are dropped here, whatever they are; llhttp is particular about them.
            guard !bytes.contains(UInt8(ascii: ";")) else { continue }
            let size = Int.random(in: 1...bytes.count, using: &dice)
            let ours = MessageReader<RequestHead>.read(bytes, in: size)
            let theirs = self.llhttp(bytes)
            if ours.error == nil { taken += 1 } else { refused += 1 }
            for (index, message) in ours.messages.enumerated() where message.isWhole {
                // It knows only some methods, and looks at targets as ``HeaderRules`` does here.
                let words = message.firstLine.split(separator: " ")
                guard !HTTPMethod(rawValue: String(words[0])).isUnknown, words[1].first == "/" || words[1] == "*" else {
                    break
                }
                guard index < theirs.messages.count, theirs.messages[index].isWhole else {
                    Issue.record("llhttp does not take \(Self.shown(bytes))")
                    break
                }
                var known = theirs.messages[index]
                // It has no trailers for a server, and tells the last blank of a value.
                known.trailers = message.trailers
                known.headers = known.headers.map { $0.trimmed }
                known.isLast = message.isLast
                #expect(message == known, "\(Self.shown(bytes))")
                // Behind the last request it reads nothing.
                if message.isLast { break }
            }
        }
        #expect(taken > 20 && refused > 20)
    }

    private static func shown(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }
}

extension HTTPMethod {
    fileprivate var isUnknown: Bool { if case .RAW = self { true } else { false } }
}

extension String {
    fileprivate var trimmed: String {
        var text = self[...]
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}
