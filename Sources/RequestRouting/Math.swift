import FleetModel

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension RandomNumberGenerator {
    /// An index below a count: the same as `Int.random(in: 0..<count)`, without the generic arithmetic that it costs where
    /// the compiler does not know the generator.
    ///
    /// Source: D. Lemire, "Fast random integer generation in an interval", 2019, as the standard library has it.
    mutating func index(below count: Int) -> Int {
        let bound = UInt64(count)
        var product = self.next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let least = (0 &- bound) % bound
            while product.low < least { product = self.next().multipliedFullWidth(by: bound) }
        }
        return Int(product.high)
    }

    /// A number from 0 up to a limit: the same as `Double.random(in: 0..<limit)`.
    mutating func number(below limit: Double) -> Double {
        while true {
            let number = limit * (Double(self.next() & 0x1F_FFFF_FFFF_FFFF) * 0x1p-53)
            if number < limit { return number }
        }
    }
}

/// `e^(−elapsed/span)`, and 1 for no time or time that went backwards.
func decay(_ elapsed: Seconds, over span: Seconds) -> Double {
    elapsed <= 0 ? 1 : exp(-elapsed / span)
}

/// `e^x`.
func power(ofE x: Double) -> Double { exp(x) }

/// The natural logarithm.
func logarithm(_ x: Double) -> Double { log(x) }
