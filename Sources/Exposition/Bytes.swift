#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The bytes that mean something in an exposition.
enum Byte {
    static let newline = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
    static let hash = UInt8(ascii: "#")
    static let quote = UInt8(ascii: "\"")
    static let backslash = UInt8(ascii: "\\")
    static let comma = UInt8(ascii: ",")
    static let equals = UInt8(ascii: "=")
    static let openBrace = UInt8(ascii: "{")
    static let closeBrace = UInt8(ascii: "}")

    static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    static func isInLabelName(_ byte: UInt8) -> Bool {
        // Upper and lower case differ in one bit, and what lies below a range wraps round to above it.
        (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte &- UInt8(ascii: "0") < 10 || byte == UInt8(ascii: "_")
    }
}

/// Walks over bytes by offset; every function stays inside the buffer.
extension UnsafeRawBufferPointer {
    /// The bytes from `start` to before `end`.
    func part(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[start..<end])
    }

    /// The offset of the first `byte` at or after `start`.
    func offset(of byte: UInt8, from start: Int) -> Int? {
        guard start < self.count, let base = self.baseAddress,
            let found = memchr(base + start, CInt(byte), self.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard self.count == other.count else { return false }
        guard let own = self.baseAddress, let theirs = other.baseAddress else { return true }
        return memcmp(own, theirs, self.count) == 0
    }

    /// A hash of these bytes, for telling the few series of one page apart; not for tables that a stranger may fill.
    ///
    /// Each eight bytes are multiplied in, and both halves of the product folded, as in wyhash (Wang Yi, 2019), which
    /// takes fewer steps than `Hasher`.
    func quickHash(_ seed: Int) -> Int {
        var state = UInt64(truncatingIfNeeded: seed) ^ 0x9E37_79B9_7F4A_7C15
        func mix(_ word: UInt64) {
            let product = (state ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
            state = product.high ^ product.low
        }
        mix(UInt64(self.count))
        var offset = 0
        while offset + 8 <= self.count {
            mix(self.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < self.count {
            rest = rest << 8 | UInt64(self[offset])
            offset += 1
        }
        mix(rest)
        return Int(truncatingIfNeeded: state)
    }

    /// Whether these bytes stand at `start`; never of none.
    ///
    /// Eight at a time and the last eight once more: for a name that is quicker than a call.
    @inline(__always)
    func has(_ bytes: UnsafeRawBufferPointer, at start: Int) -> Bool {
        guard bytes.count > 0, bytes.count <= self.count - start, let base = self.baseAddress,
            let theirs = bytes.baseAddress
        else { return false }
        let own = base + start
        let last = bytes.count - 8
        guard last >= 0 else { return memcmp(own, theirs, bytes.count) == 0 }
        var offset = 0
        while offset < last {
            if own.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != theirs.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset += 8
        }
        return own.loadUnaligned(fromByteOffset: last, as: UInt64.self)
            == theirs.loadUnaligned(fromByteOffset: last, as: UInt64.self)
    }

    /// The offset after the name that begins at `start`: that of the first brace, blank or control byte.
    ///
    /// Eight bytes at a time, as in H. S. Warren, "Hacker's Delight", 6-1: subtracting 0x21 from each byte borrows from
    /// its top bit where it was less, and the lowest such bit is exact.
    func endOfName(from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var offset = start
        while offset + 8 <= self.count {
            let word = UInt64(littleEndian: self.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let brace = word ^ (ones &* UInt64(Byte.openBrace))
            let ends = ((word &- ones &* 0x21) & ~word | (brace &- ones) & ~brace) & (ones << 7)
            if ends != 0 { return offset + ends.trailingZeroBitCount / 8 }
            offset += 8
        }
        while offset < self.count, self[offset] > Byte.space, self[offset] != Byte.openBrace { offset += 1 }
        return offset
    }

    /// The offset of the first byte at or after `start` that is no blank; `count` when there is none.
    @inline(__always)
    func skippingBlanks(from start: Int) -> Int {
        var offset = start
        while offset < self.count, Byte.isBlank(self[offset]) { offset += 1 }
        return offset
    }

    /// The offset after the closing quote of the text that opens at `start`.
    func endOfQuoted(from start: Int) -> Int? {
        var offset = start + 1
        while offset < self.count {
            switch self[offset] {
            case Byte.quote: return offset + 1
            case Byte.backslash: offset += 2
            default: offset += 1
            }
        }
        return nil
    }

    /// The text of these bytes with `\\`, `\"` and `\n` resolved; what is not UTF-8 is repaired.
    func unescaped() -> String {
        guard self.contains(Byte.backslash) else { return String(decoding: self, as: UTF8.self) }
        var bytes: [UInt8] = []
        var offset = 0
        while offset < self.count {
            if self[offset] == Byte.backslash, offset + 1 < self.count {
                offset += 1
                bytes.append(self[offset] == UInt8(ascii: "n") ? Byte.newline : self[offset])
            } else {
                bytes.append(self[offset])
            }
            offset += 1
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
