import FleetModel

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// `e^(−elapsed/span)`, and 1 for no time or time that went backwards.
func decay(_ elapsed: Seconds, over span: Seconds) -> Double {
    elapsed <= 0 ? 1 : exp(-elapsed / span)
}

/// `e^x`.
func power(ofE x: Double) -> Double { exp(x) }

/// The natural logarithm.
func logarithm(_ x: Double) -> Double { log(x) }
