import Glibc
import NIOCore

/// Reads one direction of an HTTP/1 connection: bytes go in as they come, parts of messages come out when asked for.
///
/// It is strict where two readers could disagree, because what it lets through is passed on (RFC 9112 §2.2, §5, §6, §7,
/// §11.2): lines end with CR LF and hold no other CR, LF or control character, no blank stands before a colon, no field
/// goes on in a second line, a length is digits and stands once, a coding is `chunked` and stands alone, a chunk ends
/// where its size says. Everything is bounded: head and trailers by `limit` and ``fieldsMax``, a chunk's extensions by
/// ``extensionLimit``.
///
/// Bodies come out as slices of what went in. After an error nothing more comes out.
struct MessageReader<Head: MessageHead> {
    enum Part {
        case head(Head)
        case body(ByteBuffer)
        case end(Fields?)
    }

    private enum Expect {
        case firstLine, fields
        case body(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailers, untilClose, nothing
    }

    /// Bytes of a chunk's size and extensions; extensions are dropped.
    static var extensionLimit: Int { 4_096 }

    /// Fields of a head, or of the trailers.
    static var fieldsMax: Int { 256 }

    private let limit: Int
    /// What came and was not read yet.
    private var bytes = ByteBuffer()
    /// How far of it no line ends.
    private var looked = 0
    private var expect = Expect.firstLine
    private var head: Head?
    /// Bytes of the head or the trailers so far.
    private var size = 0
    private var trailers = Fields()
    /// The answer that is read next is one to `HEAD`, and has no body whatever it says.
    var isAnswerToHead = false

    /// - Parameter limit: Bytes of a head, or of the trailers.
    init(limit: Int) { self.limit = limit }

    /// Whether everything that came was read.
    var isEmpty: Bool { self.bytes.readableBytes == 0 }

    /// Bytes that wait to be read.
    var count: Int { self.bytes.readableBytes }

    /// Whether a message has begun and is not over.
    var isInMessage: Bool {
        if case .firstLine = self.expect { false } else { true }
    }

    mutating func take(_ bytes: ByteBuffer) {
        if self.isEmpty {
            self.bytes = bytes
        } else {
            self.bytes.writeImmutableBuffer(bytes)
        }
    }

    /// The next part; `nil` when it is not there yet.
    mutating func next() throws(MessageError) -> Part? {
        do throws(MessageError) {
            return try self.read()
        } catch {
            self.expect = .nothing
            self.bytes = ByteBuffer()
            throw error
        }
    }

    /// The connection has ended on the other side.
    ///
    /// - Returns: The end of a body that had no other.
    /// - Throws: ``MessageError/cut`` in the middle of a message.
    mutating func finish() throws(MessageError) -> Part? {
        switch self.expect {
        case .firstLine where self.isEmpty, .nothing: return nil
        case .untilClose:
            self.expect = .nothing
            return .end(nil)
        default:
            self.expect = .nothing
            throw .cut
        }
    }

    private mutating func read() throws(MessageError) -> Part? {
        while true {
            switch self.expect {
            case .firstLine, .fields:
                guard let head = try self.readHead() else { return nil }
                // Nobody asked for these (RFC 9110 §15.2).
                if head.isInterim { self.expect = .firstLine } else { return .head(head) }
            case .body(let left):
                guard left > 0 else { return self.end(nil) }
                guard let piece = self.piece(left) else { return nil }
                self.expect = .body(left - piece.readableBytes)
                return .body(piece)
            case .chunkSize:
                guard let size = try self.readChunkSize() else { return nil }
                self.expect = size == 0 ? .trailers : .chunk(size)
            case .chunk(let left):
                guard let piece = self.piece(left) else { return nil }
                self.expect = piece.readableBytes == left ? .chunkEnd : .chunk(left - piece.readableBytes)
                return .body(piece)
            case .chunkEnd:
                guard self.count >= 2 else { return nil }
                guard self.bytes.readInteger(as: UInt16.self) == 0x0D0A else {
                    throw .malformed("a chunk is longer than its size")
                }
                self.expect = .chunkSize
            case .trailers: return try self.readTrailers()
            case .untilClose: return self.piece(.max).map { .body($0) }
            case .nothing:
                self.bytes = ByteBuffer()
                return nil
            }
        }
    }

    private mutating func end(_ trailers: Fields?) -> Part {
        self.expect = .firstLine
        self.looked = 0
        return .end(trailers)
    }

    /// So many of the bytes that wait, or all if there are fewer.
    private mutating func piece(_ most: Int) -> ByteBuffer? {
        let count = self.count
        guard count > 0 else { return nil }
        if count <= most {
            // Nothing is left behind: so nothing keeps the memory but whoever has the piece.
            let piece = self.bytes
            self.bytes = ByteBuffer()
            return piece
        }
        return self.bytes.readSlice(length: most)
    }

    // MARK: Lines

    /// What reading lines led to.
    private enum Lines {
        case more
        case end
        case error(MessageError)
    }

    private mutating func readHead() throws(MessageError) -> Head? {
        guard !self.isEmpty else { return nil }
        switch self.readLines() {
        case .more: return nil
        case .error(let error): throw error
        case .end: break
        }
        guard let head = self.head.take() else { return nil }
        self.size = 0
        switch try head.framing(isAnswerToHead: self.isAnswerToHead) {
        case .none: self.expect = .body(0)
        case .length(let length): self.expect = .body(length)
        case .chunked: self.expect = .chunkSize
        case .untilClose: self.expect = .untilClose
        }
        return head
    }

    private mutating func readTrailers() throws(MessageError) -> Part? {
        switch self.readLines() {
        case .more: return nil
        case .error(let error): throw error
        case .end: break
        }
        self.size = 0
        let trailers = self.trailers
        self.trailers = Fields()
        return self.end(trailers.isEmpty ? nil : trailers)
    }

    /// Reads whole lines of a head or of trailers up to the empty one.
    private mutating func readLines() -> Lines {
        // The bytes are looked at through a second reference, so that they may be while `self` is written to.
        let bytes = self.bytes
        var used = 0
        let result = bytes.withUnsafeReadableBytes { bytes -> Lines in
            do throws(MessageError) {
                while let line = try self.line(bytes, from: used) {
                    used += line.count + 2
                    self.size += line.count + 2
                    guard self.size <= self.limit else { return .error(.tooLong) }
                    if try self.readLine(line, of: bytes.count) { return .end }
                }
                guard self.size + bytes.count - used <= self.limit else { return .error(.tooLong) }
                return .more
            } catch {
                return .error(error)
            }
        }
        if used == self.bytes.readableBytes {
            self.bytes = ByteBuffer()
        } else {
            self.bytes.moveReaderIndex(forwardBy: used)
        }
        return result
    }

    /// The line that begins at an offset, without its line break; `nil` when its end is not there yet.
    private mutating func line(
        _ bytes: UnsafeRawBufferPointer,
        from start: Int
    ) throws(MessageError) -> UnsafeRawBufferPointer? {
        guard let base = bytes.baseAddress, bytes.count > start + self.looked,
            let found = memchr(base + start + self.looked, 0x0A, bytes.count - start - self.looked)
        else {
            self.looked = bytes.count - start
            return nil
        }
        self.looked = 0
        let end = base.distance(to: UnsafeRawPointer(found))
        guard end > start, bytes[end - 1] == 0x0D else { throw .malformed("a line ends without CR LF") }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end - 1])
    }

    /// - Returns: Whether it is the empty line at the end.
    private mutating func readLine(_ line: UnsafeRawBufferPointer, of count: Int) throws(MessageError) -> Bool {
        switch self.expect {
        case .firstLine:
            // Some clients send an empty line after a body (RFC 9112 §2.2).
            guard !line.isEmpty else { return false }
            var head = try Head(firstLine: line)
            head.headers.reserve(bytes: min(count, self.limit), lines: 16)
            self.head = head
            self.expect = .fields
            return false
        case .fields:
            guard !line.isEmpty else { return true }
            guard self.head?.headers.lines.count ?? 0 < Self.fieldsMax else { throw .tooLong }
            try Self.readField(line) { self.head?.headers.add($0, $1) }
            return false
        default:
            guard !line.isEmpty else { return true }
            guard self.trailers.lines.count < Self.fieldsMax else { throw .tooLong }
            try Self.readField(line) { self.trailers.add($0, $1) }
            // What frames a message has no place behind it (RFC 9110 §6.5.1); other fields of ours are left out.
            switch self.trailers.lines.last?.kind {
            case .contentLength, .transferEncoding: throw .malformed("a trailer says how long the body was")
            case .other, nil: break
            default: self.trailers.removeLast()
            }
            return false
        }
    }

    private static func readField(
        _ line: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void
    ) throws(MessageError) {
        guard line[0] != 0x20, line[0] != 0x09 else { throw .malformed("a field goes on in a second line") }
        var colon = 0
        while colon < line.count, line[colon].isToken { colon += 1 }
        guard colon > 0, colon < line.count, line[colon] == UInt8(ascii: ":") else {
            throw .malformed("a field has no name, or one with characters that no name has")
        }
        let value = UnsafeRawBufferPointer(rebasing: line[(colon + 1)...]).withoutBlanks
        for byte in value where !byte.isFieldText { throw .malformed("a field has a control character") }
        body(UnsafeRawBufferPointer(rebasing: line[..<colon]), value)
    }

    // MARK: Chunks

    private mutating func readChunkSize() throws(MessageError) -> Int? {
        let bytes = self.bytes
        var line = 0
        let size: Result<Int, MessageError>? = bytes.withUnsafeReadableBytes { bytes in
            do throws(MessageError) {
                guard let whole = try self.line(bytes, from: 0) else { return nil }
                line = whole.count + 2
                return .success(try Self.chunkSize(whole))
            } catch {
                return .failure(error)
            }
        }
        guard max(line, size == nil ? self.count : 0) <= Self.extensionLimit else {
            throw .malformed("a chunk's extensions are too long")
        }
        guard let size else { return nil }
        self.bytes.moveReaderIndex(forwardBy: line)
        return try size.get()
    }

    /// The size at the beginning of a chunk's first line; what follows after a semicolon is only looked through.
    private static func chunkSize(_ line: UnsafeRawBufferPointer) throws(MessageError) -> Int {
        var (size, count) = (0, 0)
        while count < line.count, let digit = Digits.hexadecimal(line[count]) {
            count += 1
            guard count <= 15 else { throw .malformed("a chunk's size is too great") }
            size = size << 4 | digit
        }
        guard count > 0, count == line.count || line[count] == UInt8(ascii: ";") else {
            throw .malformed("a chunk has no size")
        }
        for byte in line[count...] where !byte.isFieldText {
            throw .malformed("a chunk's extensions have a control character")
        }
        return size
    }
}
