extension UnsafeRawBufferPointer {
    /// The number that these bytes are, all of them: decimal, `NaN` or `±Inf`.
    ///
    /// Most samples are short decimals. When the digits fit 2^53 and the power of ten is at most 22, both
    /// are exact doubles, and so one division or product rounds correctly (W. Clinger, "How to read
    /// floating point numbers accurately", PLDI 1990); the rest goes to the standard library.
    func parsedNumber() -> Double? {
        var offset = 0
        var isNegative = false
        if let first = self.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") {
            isNegative = first == UInt8(ascii: "-")
            offset = 1
        }
        guard offset < self.count else { return nil }
        if self[offset] | 0x20 == UInt8(ascii: "i") || self[offset] | 0x20 == UInt8(ascii: "n") {
            return self.parsedSpecial(from: offset, isNegative: isNegative)
        }

        var digits: UInt64 = 0
        var digitCount = 0
        var power = 0
        var hasPoint = false
        while offset < self.count {
            let byte = self[offset]
            if byte == UInt8(ascii: "."), !hasPoint {
                hasPoint = true
            } else if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                if digitCount < 18 { digits = digits * 10 + UInt64(byte - UInt8(ascii: "0")) }
                digitCount += 1
                if hasPoint { power -= 1 }
            } else {
                break
            }
            offset += 1
        }
        guard digitCount > 0 else { return nil }
        if offset < self.count {
            guard self[offset] | 0x20 == UInt8(ascii: "e"), let exponent = self.parsedExponent(from: offset + 1) else {
                return nil
            }
            power += exponent
        }
        guard digitCount <= 18, digits <= 1 << 53, (-22...22).contains(power) else {
            return Double(String(decoding: self, as: UTF8.self))
        }
        let magnitude = power < 0 ? Double(digits) / powersOfTen[-power] : Double(digits) * powersOfTen[power]
        return isNegative ? -magnitude : magnitude
    }

    private func parsedSpecial(from start: Int, isNegative: Bool) -> Double? {
        switch String(decoding: self.part(start, self.count), as: UTF8.self).lowercased() {
        case "nan": .nan
        case "inf", "infinity": isNegative ? -.infinity : .infinity
        default: nil
        }
    }

    /// The exponent after an `e`; beyond four digits it is not one that any engine writes.
    private func parsedExponent(from start: Int) -> Int? {
        var offset = start
        var isNegative = false
        if offset < self.count, self[offset] == UInt8(ascii: "-") || self[offset] == UInt8(ascii: "+") {
            isNegative = self[offset] == UInt8(ascii: "-")
            offset += 1
        }
        guard (1...4).contains(self.count - offset) else { return nil }
        var exponent = 0
        for byte in self.part(offset, self.count) {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            exponent = exponent * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return isNegative ? -exponent : exponent
    }
}

/// The powers of ten that a double holds exactly.
private let powersOfTen: [Double] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
]
